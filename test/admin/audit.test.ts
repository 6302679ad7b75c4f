import { userInfo } from 'node:os';
import { expect } from 'chai';
import { issueToken } from '../../src/identity/tokens.ts';
import type { Json } from '../support/client.ts';
import { type Desk, openDesk } from './desk.ts';

const me = `cli:${userInfo().username}`;

describe('the audit log of the command line', () => {
  let desk: Desk;
  before(async () => {
    desk = await openDesk();
  });
  after(() => desk.close());

  const logOf = (id: string): Promise<Json[]> => desk.db('audit_log').where({ target_id: id }).orderBy('id');

  it('says who changed what of a user, and never a password', async () => {
    const { json: user } = await desk.admin(['users', 'create', 'ida', '--password', 'the secret one', '--json']);
    await desk.admin(['users', 'disable', 'ida', '--yes']);
    await desk.admin(['users', 'disable', 'ida', '--yes']);
    await desk.admin(['users', 'enable', 'ida']);
    await desk.admin(['users', 'password', 'ida', '--password', 'the secret two']);
    const log = await logOf(user.id);
    expect(log.map(({ action }) => action)).to.deep.equal([
      ...['user.create', 'user.disable', 'user.enable', 'user.password'],
    ]);
    for (const entry of log) expect(entry).to.include({ actor: me, actor_user_id: null, target_kind: 'user' });
    expect(log[0]).to.deep.include({ before: null, after: user });
    expect(log[1].before.disabledAt).to.equal(null);
    expect(log[1].after.disabledAt).to.be.a('string');
    expect(JSON.stringify(log)).not.to.match(/secret|scrypt/);
  });

  it('says what a ticket was before and after', async () => {
    const { id } = await desk.ticket(3, { description: 'old' });
    await desk.admin(['tickets', 'update', id, '--description', 'new', '--images', '2']);
    await desk.admin(['tickets', 'expire', id, '--yes']);
    await desk.admin(['tickets', 'expire', id, '--yes']);
    await desk.admin(['tickets', 'delete', id, '--yes']);
    const [update, expire, close, gone] = await logOf(id);
    expect(update.before).to.include({ description: 'old', expected: 3, status: 'pending' });
    expect(update.after).to.include({ description: 'new', expected: 2 });
    expect(expire).to.deep.include({ action: 'ticket.expire', actor: me });
    expect(expire.after).to.include({ status: 'expired', endedUploads: 0 });
    expect(close).to.include({ action: 'ticket.close' });
    expect(gone).to.include({ action: 'ticket.delete' });
    expect(gone.before).to.include({ description: 'new', expected: 2 });
    expect(gone.after).to.include({ deletedImages: 0, storedImagesDeleted: false });
  });

  it('says which token was issued and revoked, and not the token', async () => {
    const { username } = await desk.admin(['users', 'create', 'jon', '--json']).then(({ json }) => json);
    const { json } = await desk.admin(['tokens', 'issue', '--user', username, '--label', 'shop', '--json']);
    await desk.admin(['tokens', 'revoke', json.id, '--yes']);
    await desk.admin(['tokens', 'revoke', json.id, '--yes']);
    const log = await logOf(json.id);
    expect(log.map(({ action }) => action)).to.deep.equal(['token.issue', 'token.revoke']);
    expect(log[0].after).to.include({ username: 'jon', label: 'shop', state: 'valid' });
    expect(log[1].after).to.include({ state: 'revoked' });
    expect(JSON.stringify(log)).not.to.include(json.token);
  });

  it('has nothing of what was refused', async () => {
    const { id } = await desk.ticket(2, { username: 'kim' });
    await desk.image(id, 'stored');
    await desk.admin(['tickets', 'update', id, '--images', '0']);
    await desk.admin(['tickets', 'update', id, '--expires-at', '2020-01-01T00:00:00Z']);
    await desk.admin(['users', 'create', 'KIM']);
    expect(await logOf(id)).to.deep.equal([]);
    const { user_id } = await desk.row('tickets', id);
    expect(await logOf(user_id)).to.deep.equal([]);
  });

  it('is only ever added to', async () => {
    const { json: user } = await desk.admin(['users', 'create', 'lea', '--json']);
    const attempts = [
      () => desk.db('audit_log').where({ target_id: user.id }).update({ actor: 'somebody else' }),
      () => desk.db('audit_log').delete(),
      () => desk.db.raw('TRUNCATE audit_log'),
    ];
    for (const attempt of attempts) {
      const refused = await attempt().then(
        () => null,
        (error: Error) => error.message,
      );
      expect(refused).to.include('only ever added to');
    }
    expect(await logOf(user.id)).to.have.length(1);
  });

  it('ends the panel sessions of who is disabled or gets a new password', async () => {
    const { json: user } = await desk.admin(['users', 'create', 'max', '--admin', '--json']);
    await issueToken(desk.db, { userId: user.id });
    for (const args of [
      ['disable', 'max', '--yes'],
      ['password', 'max', '--password', 'another password'],
    ]) {
      await desk.db('sessions').insert({ sha256: Buffer.alloc(32), user_id: user.id });
      await desk.admin(['users', ...args]);
      expect(await desk.db('sessions').where({ user_id: user.id })).to.deep.equal([]);
    }
  });

  it('is listed newest first, page by page, by who, what and of what', async () => {
    const list = async (...args: string[]) => (await desk.admin(['log', 'list', '--json', ...args])).json;
    const all = await list();
    expect(all.items.length).to.be.above(5);
    const [first, second] = all.items;
    expect(Date.parse(first.at)).to.be.at.least(Date.parse(second.at));
    const page = await list('--limit', '1');
    expect(page.items).to.deep.equal([first]);
    expect((await list('--limit', '1', '--cursor', page.nextCursor)).items).to.deep.equal([second]);
    expect((await list('--actor', 'nobody')).items).to.deep.equal([]);
    expect((await list('--actor', me, '--target', first.targetId.toUpperCase())).items).to.deep.include(first);
    const issued = (await list('--action', 'token.issue')).items;
    expect(issued.map(({ action }: Json) => action)).to.deep.equal(['token.issue']);
    expect((await desk.admin(['log', 'list', '--action', 'ticket.explode'])).code).to.equal(2);
    expect((await desk.admin(['log', 'list', '--limit', '1'])).stdout).to.match(
      /^WHEN \(UTC\) +WHO +WHAT +TARGET +AFTER\n.*\n\nmore: --cursor \d+\n$/,
    );
  });
});

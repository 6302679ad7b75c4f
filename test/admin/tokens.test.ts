import { expect } from 'chai';
import { findCaller } from '../../src/identity/tokens.ts';
import type { Json } from '../support/client.ts';
import { type Desk, openDesk } from './desk.ts';

const DAY_MS = 86_400_000;
const shape = [
  ...['id', 'kind', 'state', 'username', 'ticketId', 'label'],
  ...['createdAt', 'expiresAt', 'lastUsedAt', 'revokedAt'],
];

describe('hopla admin tokens', () => {
  let desk: Desk;
  before(async () => {
    desk = await openDesk();
    await desk.admin(['users', 'create', 'anna']);
    await desk.admin(['users', 'create', 'ben']);
  });
  after(() => desk.close());

  it('issues a token that works, and shows it this once', async () => {
    const issued = await desk.admin(['tokens', 'issue', '--user', 'Anna', '--label', 'camera', '--json']);
    const { token, ...view } = issued.json;
    expect(view).to.have.all.keys(shape);
    expect(view).to.include({ kind: 'user', state: 'valid', username: 'anna', label: 'camera', expiresAt: null });
    expect(await findCaller(desk.db, token)).to.deep.include({ tokenId: view.id, kind: 'user', ticketId: null });

    const list = await desk.admin(['tokens', 'list', '--user', 'anna', '--json']);
    expect(list.json).to.deep.equal({ items: [view], nextCursor: null });
    expect((await desk.row('tokens', view.id)).sha256.toString()).not.to.include(token);
  });

  it('prints the token for a person on a line of its own', async () => {
    const { stdout } = await desk.admin(['tokens', 'issue', '--user', 'anna']);
    expect(stdout)
      .to.match(/^token {4}hop_[\w-]{43}\n/)
      .and.match(/expires {2}never\n\nThis is the only time/);
  });

  it('gives a token the life asked for', async () => {
    const from = Date.now();
    const { json } = await desk.admin(['tokens', 'issue', '--user', 'anna', '--expires-in', '90', '--json']);
    expect(Date.parse(json.expiresAt)).to.be.within(from + 90_000, Date.now() + 90_000);
  });

  it('issues an upload token that is good for one ticket and ends with its others', async () => {
    const ticket = await desk.ticket(2, { username: 'owner' });
    const { json } = await desk.admin(['tokens', 'issue', '--user', 'owner', '--ticket', ticket.id, '--json']);
    expect(json).to.include({ kind: 'upload', ticketId: ticket.id });
    expect(Date.parse(json.expiresAt)).to.equal(ticket.expiresAt.getTime() + DAY_MS);
    expect(await findCaller(desk.db, json.token)).to.include({ kind: 'upload', ticketId: ticket.id });
  });

  it('issues no token for somebody else’s ticket, an unknown one, or a disabled user', async () => {
    const ticket = await desk.ticket(1);
    await desk.admin(['users', 'create', 'off']);
    await desk.admin(['users', 'disable', 'off', '--yes']);
    const tries: [string[], string][] = [
      [['anna', '--ticket', ticket.id], 'ticket-not-found'],
      [['anna', '--ticket', 'nonsense'], 'ticket-not-found'],
      [['off'], 'invalid-request'],
      [['nobody'], 'not-found'],
    ];
    for (const [args, error] of tries) {
      const { code, stdout, stderr } = await desk.admin(['tokens', 'issue', '--user', ...args]);
      expect({ code, stdout }).to.deep.equal({ code: 1, stdout: '' });
      expect(stderr).to.match(new RegExp(`^error: ${error}: .+\n$`));
    }
  });

  it('lists tokens newest first, page by page, with what stands in their way', async () => {
    const ids: string[] = [];
    for (const label of ['one', 'two', 'three']) {
      const { json } = await desk.admin(['tokens', 'issue', '--user', 'ben', '--label', label, '--json']);
      ids.unshift(json.id);
    }
    await desk.admin(['tokens', 'revoke', ids[0] ?? '', '--yes']);
    await desk
      .db('tokens')
      .where({ id: ids[1] })
      .update({ expires_at: new Date(Date.now() - 1) });
    const first = await desk.admin(['tokens', 'list', '--user', 'ben', '--limit', '2', '--json']);
    expect(first.json.items.map(({ id, state }: Json) => [id, state])).to.deep.equal([
      [ids[0], 'revoked'],
      [ids[1], 'expired'],
    ]);
    const next = ['--cursor', first.json.nextCursor];
    const second = await desk.admin(['tokens', 'list', '--user', 'ben', '--limit', '2', '--json', ...next]);
    expect(second.json.items.map(({ id }: Json) => id)).to.deep.equal([ids[2]]);
    expect(second.json.nextCursor).to.equal(null);

    await desk.admin(['users', 'disable', 'ben', '--yes']);
    const { stdout } = await desk.admin(['tokens', 'list', '--user', 'ben']);
    expect(stdout.split('\n').filter((line) => line.includes('user-disabled'))).to.have.lengthOf(1);
    const everybody = await desk.admin(['tokens', 'list', '--json']);
    expect(new Set(everybody.json.items.map(({ username }: Json) => username)).size).to.be.above(1);
  });

  it('revokes a token after a yes, once', async () => {
    const { json } = await desk.admin(['tokens', 'issue', '--user', 'anna', '--label', 'lost phone', '--json']);
    const declined = await desk.admin(['tokens', 'revoke', json.id], { columns: 80, input: ['\n'] });
    expect(declined.code).to.equal(1);
    expect(declined.stderr).to.include(`Revoke token ${json.id} of anna (lost phone)?`);
    expect(await findCaller(desk.db, json.token)).not.to.equal(null);

    const revoked = await desk.admin(['tokens', 'revoke', json.id, '--yes', '--json']);
    expect(revoked.json).to.include({ state: 'revoked', changed: true });
    expect(await findCaller(desk.db, json.token)).to.equal(null);
    const again = await desk.admin(['tokens', 'revoke', json.id, '--yes', '--json']);
    expect(again.json).to.include({ changed: false, revokedAt: revoked.json.revokedAt });
  });

  it('never repeats a token that was given for its id', async () => {
    const { json } = await desk.admin(['tokens', 'issue', '--user', 'anna', '--json']);
    const { code, stdout, stderr } = await desk.admin(['tokens', 'revoke', json.token, '--yes']);
    expect(code).to.equal(1);
    expect(stdout + stderr).to.match(/^error: not-found: /);
    expect((stdout + stderr).toLowerCase()).not.to.include(json.token.slice(4).toLowerCase());
  });

  it('revokes nothing for an unknown id', async () => {
    const { code, stderr } = await desk.admin(['tokens', 'revoke', '0197f0c6-0000-7000-8000-000000000000', '--yes']);
    expect(code).to.equal(1);
    expect(stderr).to.match(/^error: not-found: There is no token with the id 0197f0c6/);
  });
});

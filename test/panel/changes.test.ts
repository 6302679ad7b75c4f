import { expect } from 'chai';
import { findCaller, issueToken } from '../../src/identity/tokens.ts';
import { checkCredentials } from '../../src/identity/users.ts';
import { makeImage } from '../admin/things.ts';
import { createApi, type Json, tusOptions, tusUpload, until, untilCompleted } from '../support/client.ts';
import { useGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';
import { type Clerk, hireAdmin, PASSWORD } from './clerk.ts';
import { logOf, makeFailed, makeTicket } from './premises.ts';

describe('changes in the admin panel', function () {
  this.timeout(60_000);
  const { gateway } = useGateway();
  let admin: Clerk & { id: string };
  let owner: { id: string; username: string; token: string };
  before(async () => {
    admin = await hireAdmin(gateway, 'ada');
    owner = await gateway.createUser('olga');
  });

  const row = (table: string, id: string): Promise<Json> => gateway.db(table).where({ id }).first();
  const actionsOf = async (id: string) => (await logOf(gateway.db, id)).map(({ action }) => action);
  /** A ticket's form as its page shows it, with some of it changed. */
  const formOf = (ticket: Json, changes: Record<string, string>) => {
    const shown = {
      description: ticket.description ?? '',
      metadata: ticket.metadata === null ? '' : JSON.stringify(ticket.metadata, null, 2),
      images: `${ticket.expected}`,
      expires: new Date(ticket.expires_at ?? ticket.expiresAt).toISOString().slice(0, 19),
    };
    const was = Object.entries(shown).map(([name, value]) => [`was-${name}`, value]);
    return { ...Object.fromEntries(was), ...shown, ...changes };
  };

  it('changes what was touched of a ticket, and leaves what changed beside it', async () => {
    const ticket = await makeTicket(gateway.db, owner.id, { images: 2, description: 'old', metadata: { album: 7 } });
    await gateway.db('tickets').where({ id: ticket.id }).update({ description: 'by somebody else' });
    const form = formOf(ticket, { images: '5', metadata: '{"album":\r\n8}', expires: '2031-02-03T04:05:06' });
    expect((await admin.send(`/admin/tickets/${ticket.id}`, form)).location).to.equal(`/admin/tickets/${ticket.id}`);
    const after = await row('tickets', ticket.id);
    expect(after).to.deep.include({ expected: 5, metadata: { album: 8 }, description: 'by somebody else' });
    expect(after.expires_at.toISOString()).to.equal('2031-02-03T04:05:06.000Z');
    const [change] = await logOf(gateway.db, ticket.id);
    expect(change).to.include({ actor: 'ada', actor_user_id: admin.id, action: 'ticket.update' });
    expect(change.before).to.deep.include({ expected: 2, metadata: { album: 7 } });
    expect(change.after).to.deep.include({ expected: 5, metadata: { album: 8 } });

    const again = formOf(after, { description: 'by somebody else', metadata: '' });
    await admin.send(`/admin/tickets/${ticket.id}`, again);
    expect(await row('tickets', ticket.id)).to.deep.include({ metadata: null, expected: 5 });
    expect((await admin.get(`/admin/tickets/${ticket.id}`)).text).to.include('The ticket was changed.');
    expect((await admin.get(`/admin/tickets/${ticket.id}`)).text, 'said once').not.to.include(
      'The ticket was changed.',
    );
  });

  it('says why a change of a ticket is refused, keeps what was typed, and changes nothing', async () => {
    const ticket = await makeTicket(gateway.db, owner.id, { images: 3, description: 'fine' });
    await makeImage(gateway.db, ticket.id, 'stored');
    await makeImage(gateway.db, ticket.id, 'uploading');
    const before = await row('tickets', ticket.id);
    const attempts: [Record<string, string>, RegExp][] = [
      [{ images: '1' }, /2 places of this ticket are taken/],
      [{ images: '1001' }, /images:/],
      [{ images: 'many' }, /whole number/],
      [{ metadata: '{"album":' }, /must be JSON/],
      [{ metadata: '[1]' }, /metadata:/],
      [{ metadata: JSON.stringify({ x: 'y'.repeat(5000) }) }, /4096 bytes/],
      [{ description: 'x'.repeat(256) }, /description:/],
      [{ expires: '2020-01-01T00:00:00' }, /future/],
      [{ expires: 'soon' }, /must be a date/],
    ];
    for (const [changes, reason] of attempts) {
      const { status, text } = await admin.send(`/admin/tickets/${ticket.id}`, formOf(ticket, changes));
      expect(status, JSON.stringify(changes)).to.equal(422);
      expect(text).to.match(reason);
      expect(text).to.include(Object.values(changes)[0]?.replaceAll('"', '&#34;'));
    }
    expect(await row('tickets', ticket.id)).to.deep.equal(before);
    expect(await logOf(gateway.db, ticket.id)).to.deep.equal([]);
  });

  it('asks before it expires a selection, and then tells of each how it went', async () => {
    const [open, closed] = [await makeTicket(gateway.db, owner.id), await makeTicket(gateway.db, owner.id)];
    const upload = await makeImage(gateway.db, open.id, 'uploading');
    await gateway.db('tickets').where({ id: closed.id }).update({ expired: true });
    const wish: [string, string][] = [
      ['action', 'expire'],
      ['back', '/admin/tickets?user=olga'],
      ['id', open.id],
      ['id', closed.id],
      ['id', 'nonsense'],
    ];
    const asked = await admin.send('/admin/tickets/act', wish);
    expect(asked.status).to.equal(200);
    expect(asked.text).to.include('2 tickets').and.include(open.id).and.include('name="sure" value="yes"');
    expect((await row('tickets', open.id)).expired, 'nothing before the yes').to.equal(false);

    const done = await admin.send('/admin/tickets/act', [...wish, ['sure', 'yes']]);
    expect(done.location).to.equal('/admin/tickets?user=olga');
    const { text } = await admin.get(done.location ?? '');
    expect(text).to.include('1 ticket expired.').and.include('takes no images anyway');
    expect((await row('tickets', open.id)).expired).to.equal(true);
    expect((await row('images', upload.id)).status).to.equal('expired');
    expect(await actionsOf(open.id)).to.deep.equal(['ticket.expire']);
    expect(await actionsOf(closed.id)).to.deep.equal([]);
  });

  it('deletes a ticket with what is staged, and with what is stored when that was asked for', async () => {
    const api = createApi(gateway.url, owner.token);
    const [kept, gone] = [await api.openTicket(2), await api.openTicket(1)];
    for (const [seed, ticket] of [kept, gone].entries())
      await tusUpload(jpeg({ seed, bytes: 9_000 }), tusOptions(ticket));
    await until('the first image is stored', async () => (await api.ticket(kept.id)).counts.stored === 1);
    const { images } = await untilCompleted(api, gone.id);
    const failed = await makeFailed(gateway, kept.id, 'staged.jpg');
    const stored = (await api.ticket(kept.id)).images.find((image: Json) => image.status === 'stored');
    expect(await gateway.stagedFiles()).to.deep.equal([failed.id]);

    const remove = (id: string, more: Record<string, string>) =>
      admin.send('/admin/tickets/act', { action: 'delete', id, back: '/admin/tickets', ...more });
    expect((await remove(kept.id, {})).text).to.include('from the storage, too');
    expect((await remove(kept.id, { sure: 'yes' })).location).to.equal('/admin/tickets');
    expect((await remove(gone.id, { sure: 'yes', remote: 'yes' })).location).to.equal('/admin/tickets');
    expect((await api.call('GET', `/v1/tickets/${kept.id}`)).status).to.equal(404);
    expect(await gateway.stagedFiles()).to.deep.equal([]);
    expect((await fetch(stored.url)).status, 'stored images stay').to.equal(200);
    expect((await fetch(images[0].url)).status, 'unless they were to go').to.equal(404);
    for (const [ticket, remote] of [
      [kept, false],
      [gone, true],
    ] as const) {
      const [close, end] = await logOf(gateway.db, ticket.id);
      expect(close).to.include({ action: 'ticket.close', actor: 'ada' });
      expect(end).to.include({ action: 'ticket.delete', actor: 'ada' });
      expect(end.after.storedImagesDeleted).to.equal(remote);
    }
    const log = await admin.get(`/admin/log?q=${kept.id}`);
    expect(log.text).to.include('ticket.delete');
  });

  it('retries failed images, which are then delivered, and says which cannot be', async () => {
    const ticket = await makeTicket(gateway.db, owner.id, { images: 3 });
    const failed = await makeFailed(gateway, ticket.id, 'again.jpg');
    const stored = await makeImage(gateway.db, ticket.id, 'stored', { filename: 'there.jpg' });
    const away = await makeImage(gateway.db, ticket.id, 'failed', { filename: 'away.jpg' });
    const ids = [failed, stored, away].map(({ id }): [string, string] => ['id', id]);
    const { location } = await admin.send('/admin/images/act', [
      ['action', 'retry'],
      ['back', '/admin/images'],
      ...ids,
    ]);
    const { text } = await admin.get(location ?? '');
    expect(text).to.include('1 image on the way to the storage again.');
    expect(text)
      .to.match(/there\.jpg: Image .* is stored/)
      .and.match(/away\.jpg: The file of image .* is in staging area/);
    await until('the image is stored', async () => (await row('images', failed.id)).status === 'stored');
    const [change] = await logOf(gateway.db, failed.id);
    expect(change).to.include({ action: 'image.retry', actor: 'ada' });
    expect(change.before).to.include({ status: 'failed', attempts: 7 });
    expect(change.after).to.include({ status: 'received', attempts: 0 });
    expect(await logOf(gateway.db, away.id)).to.deep.equal([]);
  });

  it('creates users with a password given, made, or none', async () => {
    const given = await admin.send('/admin/users', { username: 'uma', how: 'given', password: PASSWORD, admin: 'yes' });
    expect(given.status).to.equal(303);
    expect(await checkCredentials(gateway.db, 'uma', PASSWORD)).to.include({ isAdmin: true });

    const made = await admin.send('/admin/users', { username: 'vic', how: 'make' });
    const password = /readonly value="([^"]+)"/.exec(made.text)?.[1] ?? '';
    expect(password).to.match(/^([\da-f]{6}-){3}[\da-f]{6}$/);
    expect(await checkCredentials(gateway.db, 'vic', password)).to.include({ isAdmin: false });

    await admin.send('/admin/users', { username: 'wim', how: 'none' });
    const wim = await gateway.db('users').where({ username: 'wim' }).first();
    expect(wim).to.include({ password_hash: null });
    const [change] = await logOf(gateway.db, wim.id);
    expect(change).to.deep.include({ action: 'user.create', actor: 'ada', before: null });
    expect(JSON.stringify(await gateway.db('audit_log'))).not.to.include(password);

    for (const [fields, reason] of [
      [{ username: 'UMA', how: 'none' }, 'is taken'],
      [{ username: 'two words', how: 'none' }, 'none of them a space'],
      [{ username: 'xen', how: 'given', password: 'elevenchars' }, 'must have at least 12 characters'],
    ] as const) {
      const { status, text } = await admin.send('/admin/users', fields);
      expect(status).to.equal(422);
      expect(text).to.include(reason).and.include(`value="${fields.username}"`);
    }
  });

  it('disables and enables users, but nobody themselves', async () => {
    const { id, token } = await gateway.createUser('yan');
    const act = (action: string, target: string) =>
      admin.send('/admin/users/act', { action, id: target, sure: 'yes', back: '/admin/users' });
    await act('disable', id);
    expect(await findCaller(gateway.db, token)).to.equal(null);
    await act('enable', id);
    expect(await findCaller(gateway.db, token)).not.to.equal(null);
    expect(await actionsOf(id)).to.deep.equal(['user.disable', 'user.enable']);
    await act('disable', admin.id);
    expect((await admin.get('/admin/users')).text).to.include('You cannot disable yourself.');
    expect((await row('users', admin.id)).disabled_at).to.equal(null);
  });

  it('sets a password', async () => {
    const { id } = await gateway.createUser('zoe');
    const { text } = await admin.send(`/admin/users/${id}/password`, { how: 'make' });
    const password = /readonly value="([^"]+)"/.exec(text)?.[1] ?? '';
    expect(await checkCredentials(gateway.db, 'zoe', password)).not.to.equal(null);
    expect((await admin.send(`/admin/users/${id}/password`, { how: 'given', password: '' })).status).to.equal(422);
    expect(await actionsOf(id)).to.deep.equal(['user.password']);
  });

  it('signs a user out everywhere at once, and with a new password where that is asked for', async () => {
    const { id, token: issued } = await gateway.createUser('yul');
    const statusOf = async (token: string) => (await createApi(gateway.url, token).call('GET', '/v1/tickets')).status;
    const logIn = async () => {
      const { token } = await issueToken(gateway.db, { userId: id, isLogin: true });
      expect(await statusOf(token), 'and is remembered for a while').to.equal(200);
      return token;
    };
    const signOut = (more: Record<string, string>) =>
      admin.send('/admin/users/act', { action: 'sign-out', id, back: `/admin/users/${id}`, ...more });

    let login = await logIn();
    expect((await signOut({})).text).to.include('Sign users out everywhere?');
    expect(await statusOf(login)).to.equal(200);
    await signOut({ sure: 'yes' });
    expect([await statusOf(login), await statusOf(issued)]).to.deep.equal([401, 200]);

    login = await logIn();
    await admin.send(`/admin/users/${id}/password`, { how: 'given', password: PASSWORD });
    expect(await statusOf(login)).to.equal(200);
    await admin.send(`/admin/users/${id}/password`, { how: 'given', password: PASSWORD, everywhere: 'yes' });
    expect([await statusOf(login), await statusOf(issued)]).to.deep.equal([401, 200]);

    await signOut({ sure: 'yes', issued: 'yes' });
    expect(await statusOf(issued)).to.equal(401);
    const all = ['user.sign-out-everywhere', 'user.password', 'user.password', 'user.sign-out-everywhere'];
    expect(await actionsOf(id)).to.deep.equal(all);
  });

  it('issues a token and shows it once, and revokes it at once', async () => {
    const ticket = await makeTicket(gateway.db, owner.id);
    const issue = (fields: Record<string, string>) =>
      admin.send('/admin/tokens/new', { life: '', label: '', ticket: '', ...fields });
    const { text } = await issue({ user: 'OLGA', label: 'web shop', life: '604800' });
    const token = /readonly value="([^"]+)"/.exec(text)?.[1] ?? '';
    const api = createApi(gateway.url, token);
    expect((await api.call('GET', '/v1/tickets')).status).to.equal(200);
    const found = await gateway.db('tokens').where({ label: 'web shop' }).first();
    expect(found.expires_at.getTime()).to.be.closeTo(Date.now() + 604_800_000, 60_000);
    for (const path of [`/admin/tokens/${found.id}`, '/admin/tokens', '/admin/log'])
      expect((await admin.get(path)).text, path).not.to.include(token);

    const upload = await issue({ user: 'olga', ticket: ` ${ticket.id.toUpperCase()} ` });
    const uploadToken = /readonly value="([^"]+)"/.exec(upload.text)?.[1] ?? '';
    expect(await findCaller(gateway.db, uploadToken)).to.include({ kind: 'upload', ticketId: ticket.id });

    await admin.send('/admin/tokens/act', { action: 'revoke', id: found.id, sure: 'yes', back: '/admin/tokens' });
    expect((await api.call('GET', '/v1/tickets')).status, 'without the two seconds of trust').to.equal(401);
    expect(await actionsOf(found.id)).to.deep.equal(['token.issue', 'token.revoke']);

    for (const fields of [
      { user: 'nobody' },
      { user: 'ada', ticket: ticket.id },
      { user: 'olga', life: '5' },
      { user: '' },
    ]) {
      const refused = await issue(fields);
      expect(refused.status, JSON.stringify(fields)).to.equal(422);
      expect(refused.text).not.to.include('tokens list').and.not.include('users list');
    }
  });

  it('puts signing in and out on record', async () => {
    const clerk = await hireAdmin(gateway, 'sam');
    await admin.send(`/admin/users/${clerk.id}/password`, { how: 'given', password: PASSWORD });
    await clerk.signIn('sam', PASSWORD);
    await clerk.send('/admin/sign-out', {});
    expect(await actionsOf(clerk.id)).to.deep.equal(['user.password', 'user.sign-in', 'user.sign-out']);
  });

  it('has nothing to do where nothing is selected, and no such action where there is none', async () => {
    const nothing = await admin.send('/admin/tickets/act', { action: 'expire', back: '/admin/tickets' });
    expect(nothing.location).to.equal('/admin/tickets');
    expect((await admin.get('/admin/tickets')).text).to.include('Nothing was selected.');
    for (const action of ['explode', 'constructor', '']) {
      const { status } = await admin.send('/admin/tickets/act', { action, id: admin.id });
      expect(status, action).to.equal(400);
    }
  });
});

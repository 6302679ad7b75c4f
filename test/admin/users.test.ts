import { expect } from 'chai';
import { startSession } from '../../src/admin/panel/session.ts';
import { findCaller, issueToken } from '../../src/identity/tokens.ts';
import { checkCredentials } from '../../src/identity/users.ts';
import { type Desk, openDesk } from './desk.ts';

describe('hopla admin users', () => {
  let desk: Desk;
  before(async () => {
    desk = await openDesk();
  });
  after(() => desk.close());

  it('adds a user who can log in with the password given', async () => {
    const created = await desk.admin([
      'users',
      'create',
      'anna',
      '--password',
      'long enough for all',
      '--admin',
      '--json',
    ]);
    expect(created.json).to.deep.include({ username: 'anna', isAdmin: true, hasPassword: true, disabledAt: null });
    expect(created.json).to.have.all.keys(
      ...['id', 'username', 'isAdmin', 'hasPassword', 'createdAt', 'updatedAt', 'disabledAt'],
    );
    expect(created.stdout + created.stderr).not.to.include('long enough for all');
    expect(await checkCredentials(desk.db, 'anna', 'long enough for all')).to.have.property('id', created.json.id);
  });

  it('reads a password from standard input, without the line break at its end', async () => {
    await desk.admin(['users', 'create', 'ben', '--password-stdin'], { input: ['päss päss ', 'wörd\n'] });
    expect(await checkCredentials(desk.db, 'ben', 'päss päss wörd')).not.to.equal(null);
    expect(await checkCredentials(desk.db, 'ben', 'päss päss wörd\n')).to.equal(null);
  });

  it('adds a user without a password, who cannot log in, and says how to go on', async () => {
    const { stdout, code } = await desk.admin(['users', 'create', 'carl']);
    expect(code).to.equal(0);
    expect(stdout).to.equal('created user carl; give it a token with `tokens issue --user carl`\n');
    expect(await checkCredentials(desk.db, 'carl', '')).to.equal(null);
  });

  it('refuses a name that is taken, whatever its case, or impossible, and a short password', async () => {
    await desk.admin(['users', 'create', 'dora']);
    const refused = [
      ['DORA'],
      ['with space'],
      ['x'.repeat(101)],
      ['esc\x1b[2J'],
      ['erik', '--password', 'elevenchars'],
    ];
    for (const args of refused) {
      const { code, stdout, stderr } = await desk.admin(['users', 'create', ...args]);
      expect({ code, stdout }).to.deep.equal({ code: 1, stdout: '' });
      expect(stderr).to.match(/^error: invalid-request: .+\n$/);
    }
    expect(await desk.db('users').whereIn('username', ['DORA', 'erik'])).to.deep.equal([]);
  });

  it('lists users by name, page by page', async () => {
    const fresh = await openDesk();
    try {
      for (const name of ['b', 'C', 'a', 'd', 'e']) await fresh.admin(['users', 'create', name]);
      const names: string[] = [];
      let cursor: string | null = null;
      do {
        const { json } = await fresh.admin([
          'users',
          'list',
          '--json',
          '--limit',
          '2',
          ...(cursor ? ['--cursor', cursor] : []),
        ]);
        names.push(json.items.map(({ username }: { username: string }) => username).join(' '));
        cursor = json.nextCursor;
      } while (cursor);
      expect(names).to.deep.equal(['a b', 'C d', 'e']);

      const { stdout } = await fresh.admin(['users', 'list', '--limit', '1']);
      const [head, row, , more] = stdout.split('\n');
      expect(head).to.match(/^NAME +STATE +ADMIN +PASSWORD +CREATED \(UTC\) +ID$/);
      expect(row).to.match(/^a +enabled +no +no +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +[0-9a-f-]{36}$/);
      expect(more).to.equal('more: --cursor a');
    } finally {
      await fresh.close();
    }
  });

  it('disables a user and all its tokens after a yes, and enables them again', async () => {
    const { json: user } = await desk.admin(['users', 'create', 'fay', '--json']);
    const { token } = await issueToken(desk.db, { userId: user.id });

    const declined = await desk.admin(['users', 'disable', 'fay'], { columns: 80, input: ['n\n'] });
    expect(declined).to.deep.include({ code: 1, stdout: '' });
    expect(declined.stderr)
      .to.match(/Disable fay\? .*\[y\/N\]/)
      .and.include('Nothing was changed.');
    expect(await findCaller(desk.db, token)).not.to.equal(null);

    const disabled = await desk.admin(['users', 'disable', 'fay', '--json'], { columns: 80, input: ['y\n'] });
    expect(disabled.json).to.deep.include({ username: 'fay', changed: true });
    expect(disabled.json.disabledAt).to.be.a('string');
    expect(await findCaller(desk.db, token)).to.equal(null);

    const again = await desk.admin(['users', 'disable', 'FAY', '--yes']);
    expect(again).to.deep.include({ code: 0, stdout: 'fay was already disabled\n' });
    expect((await desk.row('users', user.id)).disabled_at.toISOString()).to.equal(disabled.json.disabledAt);

    expect((await desk.admin(['users', 'enable', 'fay'])).stdout).to.equal('fay is now enabled\n');
    expect(await findCaller(desk.db, token)).not.to.equal(null);
  });

  it('sets a password that is typed twice and never shown', async () => {
    await desk.admin(['users', 'create', 'gus', '--password', 'the old password']);
    const differing = await desk.admin(['users', 'password', 'gus'], {
      columns: 80,
      input: ['one that is new\n', 'other that is new\n'],
    });
    expect(differing.code).to.equal(1);
    expect(await checkCredentials(desk.db, 'gus', 'the old password')).not.to.equal(null);

    const set = await desk.admin(['users', 'password', 'gus'], {
      columns: 80,
      input: ['the new password\n', 'the new password\n'],
    });
    expect(set).to.deep.include({ code: 0, stdout: 'gus has a new password\n' });
    expect(set.stderr).to.equal('New password: \nThe same again: \n');
    expect(await checkCredentials(desk.db, 'gus', 'the new password')).not.to.equal(null);
    expect(await checkCredentials(desk.db, 'gus', 'the old password')).to.equal(null);
  });

  it('signs a user out everywhere, and with a new password where that is asked for', async () => {
    const { json: user } = await desk.admin(['users', 'create', 'ina', '--admin', '--json']);
    const isValid = async (token: string) => (await findCaller(desk.db, token)) !== null;
    const logIn = async () => {
      await startSession(desk.db, user.id);
      return (await issueToken(desk.db, { userId: user.id, isLogin: true })).token;
    };
    const { token: issued } = await issueToken(desk.db, { userId: user.id });
    const isSignedOut = async (login: string) =>
      !(await isValid(login)) && (await desk.db('sessions').where({ user_id: user.id })).length === 0;

    let login = await logIn();
    const declined = await desk.admin(['users', 'sign-out', 'ina'], { columns: 80, input: ['n\n'] });
    expect(declined.stderr).to.include('Sign ina out everywhere?');
    expect(await isValid(login)).to.equal(true);
    const { stdout } = await desk.admin(['users', 'sign-out', 'INA', '--yes']);
    expect(stdout).to.equal('ina is signed out everywhere; 1 token ended\n');
    expect([await isSignedOut(login), await isValid(issued)]).to.deep.equal([true, true]);

    login = await logIn();
    await desk.admin(['users', 'password', 'ina', '--password', 'long enough for all']);
    expect(await isValid(login)).to.equal(true);
    await desk.admin(['users', 'password', 'ina', '--password', 'long enough for all', '--sign-out']);
    expect([await isSignedOut(login), await isValid(issued)]).to.deep.equal([true, true]);

    login = await logIn();
    const all = await desk.admin(['users', 'sign-out', 'ina', '--issued', '--yes', '--json']);
    expect(all.json).to.include({ username: 'ina', tokensEnded: 2 });
    expect([await isSignedOut(login), await isValid(issued)]).to.deep.equal([true, false]);

    const log = await desk.db('audit_log').where({ target_id: user.id }).orderBy('id');
    expect(log.map(({ action, after }) => [action, after.issued ?? null, after.tokensEnded ?? null])).to.deep.equal([
      ['user.create', null, null],
      ['user.sign-out-everywhere', false, 1],
      ['user.password', null, null],
      ['user.password', null, 1],
      ['user.sign-out-everywhere', true, 2],
    ]);
  });

  it('refuses names that look like another one or cannot be seen, and takes one spelling for another', async () => {
    await desk.admin(['users', 'create', 'Zoë']);
    for (const [name, reason] of [
      ['z\u043eë', 'one script'],
      ['zo\u200bë', 'invisible'],
      ['zo\u202eë', 'invisible'],
      ['ZOË', 'is taken'],
      ['zoe\u0308', 'is taken'],
      ['ｚｏë', 'is taken'],
    ] as const) {
      const { code, stderr } = await desk.admin(['users', 'create', name]);
      expect([code, stderr], name).to.satisfy(() => code === 1 && stderr.includes(reason));
    }
    expect((await desk.admin(['users', 'disable', 'ZOE\u0308', '--yes'])).stdout).to.equal('Zoë is now disabled\n');
  });

  it('needs a password from somewhere, and from one place', async () => {
    await desk.admin(['users', 'create', 'hal']);
    for (const args of [[], ['--password', 'x', '--password-stdin']]) {
      const { code, stderr } = await desk.admin(['users', 'password', 'hal', ...args]);
      expect(code).to.equal(2);
      expect(stderr).to.match(/^error: Give .*--password-stdin.*\n$/);
    }
  });

  it('knows nobody of an unknown name', async () => {
    for (const args of [
      ['disable', 'nobody', '--yes'],
      ['enable', 'nobody'],
      ['password', 'nobody', '--password', 'long enough for all'],
      ['sign-out', 'nobody', '--yes'],
    ]) {
      const { code, stderr } = await desk.admin(['users', ...args]);
      expect(code).to.equal(1);
      expect(stderr).to.equal('error: not-found: There is no user nobody; `users list` shows all.\n');
    }
  });
});

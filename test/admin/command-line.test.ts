import { randomUUIDv7 } from 'node:crypto';
import { expect } from 'chai';
import { runAdmin } from './admin.ts';
import { type Desk, openDesk } from './desk.ts';

const id = '0197f0c6-0000-7000-8000-000000000000';

describe('the hopla admin command line', () => {
  let desk: Desk;
  before(async () => {
    desk = await openDesk();
    await desk.admin(['users', 'create', 'anna']);
  });
  after(() => desk.close());

  const run = (args: string[], env: Record<string, string> = {}) => runAdmin(args, { ...desk.environment, ...env });

  it('helps without a database', async () => {
    const { code, stdout } = await runAdmin(['--help'], { DATABASE_URL: 'not even a URL' });
    expect(code).to.equal(0);
    for (const word of ['users', 'tokens', 'tickets', 'images', 'Exit codes']) expect(stdout).to.include(word);
    const update = await desk.admin(['tickets', 'update', '--help']);
    expect(update.code).to.equal(0);
    expect(update.stdout).to.include('--expires-in <seconds>');
  });

  it('does what it is told, as a process of its own', async () => {
    const [listed, refused, misunderstood] = await Promise.all([
      run(['users', 'list', '--json']),
      run(['tickets', 'show', id]),
      run(['users', 'destroy']),
    ]);
    expect(listed).to.include({ code: 0, stderr: '' });
    expect(listed.json.items).to.have.lengthOf(1);
    expect(refused).to.include({ code: 1, stdout: '' });
    expect(refused.stderr.split('\n')).to.have.lengthOf(2);
    expect(misunderstood).to.include({ code: 2, stdout: '', stderr: "error: unknown command 'destroy'\n" });
  });

  it('ends with 2 where it is not understood', async () => {
    const misunderstood = [
      [],
      ['users'],
      ['users', 'destroy'],
      ['users', 'create'],
      ['users', 'list', '--limit', '0'],
      ['users', 'list', '--limit', '1e1'],
      ['tokens', 'issue'],
      ['tokens', 'issue', '--user', 'anna', '--expires-in', '-5'],
      ['tokens', 'list', '--cursor', 'x'],
      ['tickets', 'list', '--status', 'done'],
      ['tickets', 'list', '--from', 'yesterday'],
      ['tickets', 'list', '--cursor', 'x'],
      ['tickets', 'update', id, '--images', '1001'],
      ['tickets', 'update', id, '--metadata', '{'],
      ['tickets', 'update', id, '--expires-at', 'soon'],
      ['images', 'list'],
    ];
    for (const args of misunderstood) {
      const { code, stdout, stderr } = await desk.admin(args);
      expect({ args, code, stdout }).to.deep.equal({ args, code: 2, stdout: '' });
      expect(stderr).not.to.equal('');
    }
  });

  it('destroys nothing where nobody can be asked, unless told so', async () => {
    const ticket = await desk.ticket(1);
    const token = (await desk.admin(['tokens', 'issue', '--user', 'anna', '--json'])).json;
    const destructive = [
      ['users', 'disable', 'anna'],
      ['tokens', 'revoke', token.id],
      ['tickets', 'expire', ticket.id],
      ['tickets', 'delete', ticket.id],
    ];
    for (const args of destructive) {
      const { code, stdout, stderr } = await desk.admin(args);
      expect({ code, stdout }).to.deep.equal({ code: 2, stdout: '' });
      expect(stderr).to.equal('error: This needs a yes, and nobody can be asked here; add --yes if you mean it.\n');
    }
    const piped = await desk.admin(['users', 'disable', 'anna'], { input: ['y\n'] });
    expect(piped.code).to.equal(2);
    expect((await desk.db('users').where({ username: 'anna' }).first()).disabled_at).to.equal(null);
    expect((await desk.row('tokens', token.id)).revoked_at).to.equal(null);
    expect(await desk.row('tickets', ticket.id)).to.include({ expired: false });
    for (const args of destructive) expect((await desk.admin([...args, '--yes'])).code).to.equal(0);
  });

  it('shows no stack trace, unless LOG_LEVEL is debug', async () => {
    expect((await desk.admin(['tickets', 'show', id])).stderr).to.match(/^error: .*\n$/);
    expect((await run(['tickets', 'show', id], { LOG_LEVEL: 'debug' })).stderr).to.match(/\n {4}at .*find\.ts/);
  });

  it('says what to do about a database that is away, empty, or closed to us, and shows no password', async () => {
    const url = new URL(desk.environment.DATABASE_URL);
    const secret = url.password;
    const away = Object.assign(new URL(url), { port: '1' }).href;
    const empty = Object.assign(new URL(url), { pathname: '/postgres' }).href;
    const guessed = Object.assign(new URL(url), { password: 'guessed-secret' }).href;
    const tries: [string, RegExp][] = [
      [away, /^error: service-unavailable: The database cannot be reached \(ECONNREFUSED\); look at DATABASE_URL\.\n$/],
      [empty, /^error: database-not-ready: The database lacks tables; run `hopla migrate`/],
      [guessed, /^error: password authentication failed for user/],
      ['mysql://x', /^error: The configuration has problems:\n {2}DATABASE_URL=\(hidden\)/],
    ];
    const ended = await Promise.all(tries.map(([DATABASE_URL]) => run(['users', 'list'], { DATABASE_URL })));
    for (const [index, { code, stderr }] of ended.entries()) {
      expect(code).to.equal(1);
      expect(stderr).to.match(tries[index]?.[1] ?? /^$/);
      expect(stderr).not.to.include(secret);
      expect(stderr).not.to.include('guessed-secret');
    }
  });

  it('lets no text from outside give orders to the terminal', async () => {
    const nasty = 'a\x1b]0;owned\x07b\x9b2Jc\u202egnp.exe\r\nd';
    const ticket = await desk.ticket(1, { description: nasty });
    const image = await desk.image(ticket.id, 'failed', { filename: nasty });
    await desk.db('images').where({ id: image.id }).update({ error_message: nasty });
    const commands = [
      ['tickets', 'show', ticket.id],
      ['tickets', 'list'],
      ['images', 'list', '--ticket', ticket.id],
    ];
    for (const args of commands) {
      const { stdout } = await desk.admin(args);
      expect(stdout).to.include('a\\u001b]0;owned\\u0007b\\u009b2Jc\\u202egnp.exe\\u000d\\u000ad');
      expect(stdout).to.match(/^[^\p{Cc}\p{Cf}\n]*(\n[^\p{Cc}\p{Cf}\n]*)*$/u);
      const json = await desk.admin([...args, '--json']);
      expect(json.stdout).to.match(/^[^\p{Cc}\p{Cf}\n]*(\n[^\p{Cc}\p{Cf}\n]*)*$/u);
      expect(JSON.stringify(json.json)).to.include(JSON.stringify(nasty).slice(1, -1));
    }
    const { stderr } = await desk.admin(['tickets', 'show', '\x1b[2J']);
    expect(stderr).to.include('There is no ticket \\u001b[2j');
  });

  it('fits tables to the terminal, and leaves out nothing where there is none', async () => {
    const description = `${'日本語'.repeat(20)} end`;
    const ticket = await desk.ticket(1, { description });
    for (const sitting of [{}, { columns: 0 }]) {
      expect((await desk.admin(['tickets', 'list'], sitting)).stdout).to.include(description);
    }
    for (const columns of [60, 100, 160, 400]) {
      const { stdout } = await desk.admin(['tickets', 'list'], { columns });
      const lines = stdout.split('\n');
      expect(lines.some((line) => line.startsWith(ticket.id))).to.equal(true);
      // Each of these characters takes two columns.
      const widths = lines.map((line) => line.length + (line.match(/[日本語]/g)?.length ?? 0));
      expect(Math.max(...widths)).to.be.at.most(columns);
      expect(stdout.includes(description)).to.equal(columns === 400);
    }
  });

  it('keeps the columns of a table under their titles', async () => {
    const { stdout } = await desk.admin(['users', 'list']);
    const [head = '', ...rows] = stdout.trimEnd().split('\n');
    const at = head.indexOf('CREATED');
    for (const row of rows) expect(row.slice(at, at + 20)).to.match(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d $/);
  });

  it('repeats no secret of an option that it refuses', async () => {
    const secret = randomUUIDv7();
    const ended = await desk.admin(['users', 'create', 'with space', '--password', secret]);
    expect(ended.code).to.equal(1);
    expect(ended.stdout + ended.stderr).not.to.include(secret);
  });
});

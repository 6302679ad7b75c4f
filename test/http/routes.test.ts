import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { expect } from 'chai';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
const ID = '0197f0c6-0000-7000-8000-000000000000';

/** Other spellings of a path that some server or proxy takes for the same. */
const spellings: [name: string, spell: (path: string) => string][] = [
  ['upper case', (path) => path.toUpperCase()],
  ['a capital', (path) => path.replace(/[a-z]/, (letter) => letter.toUpperCase())],
  ['a last capital', (path) => path.replace(/[a-z](?=[^a-z]*$)/, (letter) => letter.toUpperCase())],
  ['a slash at the end', (path) => `${path}/`],
  ['two slashes at the end', (path) => `${path}//`],
  ['a doubled first slash', (path) => `/${path}`],
  ['doubled slashes', (path) => path.replaceAll('/', '//')],
  ['a doubled last slash', (path) => path.replace(/\/(?=[^/]*$)/, '//')],
  ['encoded slashes', (path) => `/${path.slice(1).replaceAll('/', '%2f')}`],
  ['an encoded first slash', (path) => `/%2F${path.slice(1)}`],
  ['an encoded slash at the end', (path) => `${path}%2f`],
  ['backslashes', (path) => `/${path.slice(1).replaceAll('/', '\\')}`],
  ['encoded letters', (path) => path.replace(/[a-z]/g, (letter) => `%${letter.charCodeAt(0).toString(16)}`)],
  ['an encoded letter', (path) => path.replace(/[a-z]/, (letter) => `%${letter.charCodeAt(0).toString(16)}`)],
  ['a dot before', (path) => `/.${path}`],
  ['dots before', (path) => `/x/..${path}`],
  ['encoded dots before', (path) => `/x/%2e%2e${path}`],
  ['dots after', (path) => `${path}/x/..`],
  ['encoded dots after', (path) => `${path}/%2e%2e/${path.split('/').at(-1)}`],
  ['a dot at the end', (path) => `${path}/.`],
  ['an encoded end of text', (path) => `${path}%00`],
  ['a semicolon', (path) => `${path};x=1`],
  ['a blank at the end', (path) => `${path}%20`],
];

type Answer = { status: number; headers: IncomingMessage['headers']; body: string };

describe('paths', function () {
  this.timeout(120_000);
  let gateway: TestGateway;
  const agent = new Agent({ keepAlive: true, maxSockets: 8 });
  before(async () => {
    gateway = await startTestGateway();
    const { token, id } = await gateway.createUser();
    // Something to be found: a list without rows would hide a page that fails on its first row.
    const body = JSON.stringify({ images: 1 });
    const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' };
    expect((await fetch(`${gateway.url}/v1/tickets`, { method: 'POST', headers, body })).status).to.equal(201);
    await gateway.db('audit_log').insert({ actor: 'ada', action: 'user.enable', target_id: id, target_kind: 'user' });
  });
  after(async () => {
    agent.destroy();
    await gateway.close();
  });

  const ask = async (method: string, path: string, headers: Record<string, string> = {}): Promise<Answer> => {
    const { hostname, port } = new URL(gateway.url);
    const sent = request({ hostname, port, agent, method, path, headers });
    sent.end();
    const [answer] = (await once(sent, 'response')) as [IncomingMessage];
    return { status: answer.statusCode ?? 0, headers: answer.headers, body: await text(answer) };
  };
  const paths = () => [...new Set(gateway.routes.map(({ path }) => path.replace('{*rest}', 'x')))];
  const withIds = (path: string) => path.replace(/:\w+/g, ID);

  /** True for what a stranger may get at an address that is not quite one. */
  const isClosed = (method: string, { status, headers, body }: Answer) =>
    [404, 405, 401].includes(status) ||
    (status === 303 && /^\/admin\/sign-in\?next=/.test(headers.location ?? '')) ||
    (method === 'OPTIONS' && status === 204 && body === '');

  it('are of all routers, with and without parameters', () => {
    expect(paths())
      .to.have.length.above(30)
      .and.include.members(['/', '/admin', '/admin/log', '/v1/auth/login', '/v1/tickets/:ticketId/uploads/:imageId']);
  });

  it('that are spelt in another way lead nowhere without a credential, whatever the method', async () => {
    let asked = 0;
    for (const path of paths()) {
      for (const [name, spell] of spellings) {
        const other = spell(withIds(path));
        if (other === withIds(path) || paths().includes(other)) continue;
        const answers = await Promise.all(METHODS.map(async (method) => [method, await ask(method, other)] as const));
        for (const [method, answer] of answers)
          expect(isClosed(method, answer), `${method} ${other} (${name}): ${answer.status}`).to.equal(true);
        asked += answers.length;
      }
    }
    expect(asked).to.be.above(3_000);
  });

  it('match letter case and slashes exactly', async () => {
    for (const path of paths().filter((known) => !known.includes(':') && known !== '/')) {
      for (const other of [path.toUpperCase(), path.replace(/[a-z]/, (letter) => letter.toUpperCase())])
        expect((await ask('GET', other)).status, other).to.equal(404);
      // Below /admin everything asks to sign in, so that nobody learns what there is.
      const expected = path.startsWith('/admin') ? 303 : 404;
      expect((await ask('GET', `${path}/`)).status, `${path}/`).to.equal(expected);
    }
  });
});

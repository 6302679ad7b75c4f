import { randomUUIDv7 } from 'node:crypto';
import { expect } from 'chai';
import { findCaller, issueToken, revokeToken } from '../../src/identity/tokens.ts';
import { createUser, setUserDisabled } from '../../src/identity/users.ts';
import { type Api, createApi, type Json, until } from '../support/client.ts';
import { useGateway } from '../support/gateway.ts';

/** Who calls. Where a row names no status for one of them, it is the one beside it. */
const callers = [
  ...(['none', 'bad', 'expired', 'revoked', 'disabled'] as const),
  ...(['other', 'admin', 'otherUpload', 'upload', 'owner'] as const),
];
type CallerName = (typeof callers)[number];

// T is the owner's ticket, I an image of it that is uploading (0 of 1000 bytes), K its upload token.
// `none` stands for every caller without a valid token: no, bad, expired, revoked token, and a disabled user; `other` also for
// an admin, whose token opens nothing more than anybody's: other people's tickets are for the panel and the command line.
//                                                       none  other user  upload token  upload token  owner
//                                                                         of another    of T
//                                                                         ticket
const table: [request: string, none: number, other: number, otherUpload: number, upload: number, owner: number][] = [
  ['POST    /v1/auth/logout', /*                       */ 401, 204, /*  */ 403, /*    */ 403, /*    */ 204],
  ['GET     /v1/auth/logout', /*                       */ 405, 405, /*  */ 405, /*    */ 405, /*    */ 405],
  // Not even the owner's: it is no token of a login.
  ['POST    /v1/auth/password', /*                     */ 401, 403, /*  */ 403, /*    */ 403, /*    */ 403],
  ['POST    /v1/tickets', /*                           */ 401, 201, /*  */ 403, /*    */ 403, /*    */ 201],
  ['GET     /v1/tickets', /*                           */ 401, 200, /*  */ 403, /*    */ 403, /*    */ 200],
  ['HEAD    /v1/tickets', /*                           */ 401, 200, /*  */ 403, /*    */ 403, /*    */ 200],
  ['DELETE  /v1/tickets', /*                           */ 405, 405, /*  */ 405, /*    */ 405, /*    */ 405],
  ['GET     /v1/tickets/T', /*                         */ 401, 404, /*  */ 404, /*    */ 200, /*    */ 200],
  ['HEAD    /v1/tickets/T', /*                         */ 401, 404, /*  */ 404, /*    */ 200, /*    */ 200],
  ['PUT     /v1/tickets/T', /*                         */ 405, 405, /*  */ 405, /*    */ 405, /*    */ 405],
  ['PATCH   /v1/tickets/T', /*                         */ 405, 405, /*  */ 405, /*    */ 405, /*    */ 405],
  ['DELETE  /v1/tickets/T', /*                         */ 405, 405, /*  */ 405, /*    */ 405, /*    */ 405],
  ['GET     /v1/tickets/T/tokens', /*                  */ 401, 404, /*  */ 403, /*    */ 403, /*    */ 200],
  ['HEAD    /v1/tickets/T/tokens', /*                  */ 401, 404, /*  */ 403, /*    */ 403, /*    */ 200],
  ['DELETE  /v1/tickets/T/tokens/K', /*                */ 401, 404, /*  */ 403, /*    */ 403, /*    */ 204],
  ['GET     /v1/tickets/T/events', /*                  */ 401, 404, /*  */ 404, /*    */ 200, /*    */ 200],
  ['HEAD    /v1/tickets/T/events', /*                  */ 401, 404, /*  */ 404, /*    */ 200, /*    */ 200],
  ['GET     /v1/events', /*                            */ 401, 200, /*  */ 403, /*    */ 403, /*    */ 200],
  ['HEAD    /v1/events', /*                            */ 401, 200, /*  */ 403, /*    */ 403, /*    */ 200],
  ['POST    /v1/events', /*                            */ 405, 405, /*  */ 405, /*    */ 405, /*    */ 405],
  ['OPTIONS /v1/tickets/T/uploads', /*                 */ 401, 404, /*  */ 404, /*    */ 200, /*    */ 200],
  ['POST    /v1/tickets/T/uploads', /*                 */ 401, 404, /*  */ 404, /*    */ 201, /*    */ 201],
  ['GET     /v1/tickets/T/uploads', /*                 */ 405, 405, /*  */ 405, /*    */ 405, /*    */ 405],
  ['OPTIONS /v1/tickets/T/uploads/I', /*               */ 401, 404, /*  */ 404, /*    */ 200, /*    */ 200],
  ['HEAD    /v1/tickets/T/uploads/I', /*               */ 401, 404, /*  */ 404, /*    */ 200, /*    */ 200],
  ['PATCH   /v1/tickets/T/uploads/I', /*               */ 401, 404, /*  */ 404, /*    */ 409, /*    */ 409],
  ['GET     /v1/tickets/T/uploads/I', /*               */ 405, 405, /*  */ 405, /*    */ 405, /*    */ 405],
  ['POST+HEAD   /v1/tickets/T/uploads/I', /*           */ 401, 404, /*  */ 404, /*    */ 200, /*    */ 200],
  ['POST+PATCH  /v1/tickets/T/uploads/I', /*           */ 401, 404, /*  */ 404, /*    */ 409, /*    */ 409],
  ['DELETE  /v1/tickets/T/uploads/I', /*               */ 401, 404, /*  */ 404, /*    */ 204, /*    */ 204],
  ['POST+DELETE /v1/tickets/T/uploads/I', /*           */ 401, 404, /*  */ 404, /*    */ 204, /*    */ 204],
  ['GET     /healthz', /*                              */ 200, 200, /*  */ 200, /*    */ 200, /*    */ 200],
  ['GET     /readyz', /*                               */ 200, 200, /*  */ 200, /*    */ 200, /*    */ 200],
  ['GET     /v1/nowhere', /*                           */ 404, 404, /*  */ 404, /*    */ 404, /*    */ 404],
  ['GET     /v1/tickets/T/nowhere', /*                 */ 404, 404, /*  */ 404, /*    */ 404, /*    */ 404],
];

/** Answers the same to everybody, whatever token they show. */
const forEverybody = [
  ...['POST /v1/auth/login', 'GET /', 'GET /assets/:hash/:name', 'GET /problems', 'GET /problems/:code'],
  ...['GET /openapi.json', 'GET /docs', 'GET /docs/:hash/:name', 'GET /metrics', 'GET /healthz', 'GET /readyz'],
  ...['GET /admin/sign-in', 'POST /admin/sign-in'],
];

describe('who may do what', () => {
  const { gateway } = useGateway();
  let routes: string[];
  let owner: Api;
  let ownerId: string;
  before(async () => {
    routes = gateway.routes.flatMap(({ methods, path }) => methods.map((method) => `${method} ${path}`));
    const user = await gateway.createUser('owner');
    ownerId = user.id;
    owner = createApi(gateway.url, user.token);
  });

  for (const [request, none, other, otherUpload, upload, own] of table) {
    it(`${request}: ${[none, other, otherUpload, upload, own].join(' ')}`, async () => {
      const expected: Record<CallerName, number> = {
        ...{ none, bad: none, expired: none, revoked: none, disabled: none },
        ...{ other, admin: other, otherUpload, upload, owner: own },
      };
      for (const caller of callers) {
        const answer = await perform(request, caller);
        expect(answer.status, `as ${caller}`).to.equal(expected[caller]);
        if (answer.status === 401) expect(answer.challenge, `as ${caller}`).to.match(/^Bearer\b/);
      }
    });
  }

  it('is in this file for every route that there is', () => {
    const inTable = table.map(([request]) => {
      const [verb = '', path = ''] = request.split(/\s+/);
      return `${verb} ${path.replace('/T', '/:ticketId').replace('/I', '/:imageId').replace('/K', '/:tokenId')}`;
    });
    expect(routes).to.have.length.above(30).and.include('PATCH /v1/tickets/:ticketId/uploads/:imageId');
    const missing = routes.filter((route) => !inTable.includes(route) && !isForEverybody(route) && !isPanel(route));
    expect(missing).to.deep.equal([]);
  });

  it('is the same for every caller where everybody may', async () => {
    const statusesOf = async (route: string) => {
      const [method = '', path = ''] = route.split(' ');
      const statuses = callers.map(async (caller) => {
        const token = await tokenOf(caller, (await owner.openTicket(1)).id);
        return (await owner.call(method, path.replaceAll(':', ''), { token })).status;
      });
      return [...new Set(await Promise.all(statuses))];
    };
    for (const route of forEverybody)
      expect(await statusesOf(route), route)
        .to.have.length(1)
        .and.not.include(500);
  });

  it('is nothing in the panel for any token: its pages ask to sign in, its forms are refused', async () => {
    const tokens = await Promise.all(callers.map((caller) => tokenOf(caller, randomUUIDv7()).catch(() => null)));
    const panel = routes.filter(isPanel);
    expect(panel).to.have.length.above(20);
    for (const route of panel) {
      const [method = '', path = ''] = route.split(' ');
      const url = new URL(path.replace(':id', randomUUIDv7()).replace('{*rest}', 'rest'), gateway.url);
      for (const token of tokens) {
        const headers = { Cookie: `hopla_admin=${token}`, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
        const { status } = await fetch(url, { method, headers, redirect: 'manual' });
        expect(status, route).to.equal(method === 'POST' ? 401 : 303);
      }
    }
  });

  it('has every caller refused for the same reason without a valid token', async () => {
    for (const caller of ['none', 'bad', 'expired', 'revoked', 'disabled'] as const) {
      const { body } = await owner.call('GET', '/v1/tickets', { token: await tokenOf(caller, '') });
      expect(body.code, caller).to.equal('unauthorized');
    }
  });

  /** Does one line of the table on a fresh ticket and image, with a fresh token. */
  async function perform(request: string, caller: CallerName): Promise<{ status: number; challenge: string | null }> {
    const [verb = '', path = ''] = request.split(/\s+/);
    const [method = '', override] = verb.split('+');
    const ticket = await owner.openTicket(5);
    const image = path.includes('/I') ? await createUpload(ticket) : '';
    const token = await tokenOf(caller, ticket.id);
    const leave = new AbortController();
    const uploadToken = path.includes('/K') ? await findCaller(gateway.db, ticket.uploadToken) : null;
    const real = path
      .replace('/T', `/${ticket.id}`)
      .replace('/I', `/${image}`)
      .replace('/K', `/${uploadToken?.tokenId}`);
    const response = await fetch(new URL(real, gateway.url), {
      method,
      signal: leave.signal,
      headers: {
        ...(token === null ? {} : { Authorization: `Bearer ${token}` }),
        ...(override ? { 'X-HTTP-Method-Override': override } : {}),
        ...(path.includes('/uploads') ? { 'Tus-Resumable': '1.0.0', 'Upload-Length': '1000' } : {}),
        // An offset that is wrong: the bytes are refused, and the image stays as it is.
        ...(verb.endsWith('PATCH')
          ? { 'Content-Type': 'application/offset+octet-stream', 'Upload-Offset': '500' }
          : {}),
        ...(verb === 'POST' && path === '/v1/tickets' ? { 'Content-Type': 'application/json' } : {}),
      },
      ...(verb === 'POST' && path === '/v1/tickets' ? { body: '{"images":1}' } : {}),
      ...(verb.endsWith('PATCH') ? { body: 'bytes' } : {}),
    });
    // A stream does not end by itself.
    leave.abort();
    return { status: response.status, challenge: response.headers.get('WWW-Authenticate') };
  }

  async function createUpload(ticket: Json): Promise<string> {
    const { status, headers } = await owner.call('POST', `/v1/tickets/${ticket.id}/uploads`, {
      headers: { 'Tus-Resumable': '1.0.0', 'Upload-Length': '1000' },
    });
    expect(status).to.equal(201);
    return headers.get('Location')?.split('/').at(-1) ?? '';
  }

  async function tokenOf(caller: CallerName, ticketId: string): Promise<string | null> {
    const { db } = gateway;
    switch (caller) {
      case 'none':
        return null;
      case 'bad':
        return `hop_${'A'.repeat(43)}`;
      case 'expired':
        return (await issueToken(db, { userId: ownerId, expiresAt: new Date(Date.now() - 1000) })).token;
      case 'revoked': {
        const { token, id } = await issueToken(db, { userId: ownerId });
        await revokeToken(db, id);
        return token;
      }
      case 'disabled': {
        const user = await gateway.createUser();
        await setUserDisabled(db, user.id, true);
        return user.token;
      }
      case 'other':
        return (await gateway.createUser()).token;
      case 'admin': {
        const { id } = await createUser(db, { username: `admin-${randomUUIDv7()}`, isAdmin: true });
        return (await issueToken(db, { userId: id })).token;
      }
      case 'otherUpload':
        return (await owner.openTicket(1)).uploadToken;
      case 'upload':
        return (await issueToken(db, { userId: ownerId, ticketId })).token;
      case 'owner':
        return (await issueToken(db, { userId: ownerId })).token;
    }
  }

  describe('within seconds', () => {
    const works = async (token: string) => (await owner.call('GET', '/v1/tickets', { token })).status === 200;
    const stops = (token: string) => until('the token stops working', async () => !(await works(token)), 5_000);

    it('stops a token that is revoked elsewhere', async () => {
      const { token, id } = await issueToken(gateway.db, { userId: ownerId });
      expect(await works(token)).to.equal(true);
      await revokeToken(gateway.db, id);
      await stops(token);
    });

    it('stops a token that runs out', async () => {
      const expiresAt = new Date(Date.now() + 1_500);
      const { token } = await issueToken(gateway.db, { userId: ownerId, expiresAt });
      expect(await works(token)).to.equal(true);
      await stops(token);
    });

    it('stops the tokens of a disabled user, of both kinds, and starts them when it is enabled', async () => {
      const user = await gateway.createUser();
      const api = createApi(gateway.url, user.token);
      const { id, uploadToken } = await api.openTicket(1);
      const watches = async () => (await api.call('GET', `/v1/tickets/${id}`, { token: uploadToken })).status === 200;
      expect([await works(user.token), await watches()]).to.deep.equal([true, true]);
      await setUserDisabled(gateway.db, user.id, true);
      await stops(user.token);
      await until('the upload token stops too', async () => !(await watches()), 5_000);
      await setUserDisabled(gateway.db, user.id, false);
      expect([await works(user.token), await watches()]).to.deep.equal([true, true]);
    });
  });
});

function isForEverybody(route: string): boolean {
  return forEverybody.includes(route.replace('HEAD', 'GET')) || / \/admin\/assets\//.test(route);
}

/** What is for those alone who are signed in to the panel. */
function isPanel(route: string): boolean {
  return / \/admin/.test(route) && !/\/(sign-in|assets\/.*)$/.test(route);
}

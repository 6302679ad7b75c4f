import { expect } from 'chai';
import { setUserEnabled } from '../../src/admin/operations/users.ts';
import { issueToken, revokeToken } from '../../src/identity/tokens.ts';
import { createApi, type Json, until } from '../support/client.ts';
import { useGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';
import { answerTo, createEndpoint, expectProblem, OFFSET_STREAM, openRequest } from '../uploads/raw.ts';

const admin = { name: 'admin', userId: null };
/** Two looks of two seconds, and one for a token that was just believed; with a machine that is busy. */
const SOON_MS = 9_000;

describe('a request body whose token has ended', () => {
  const photo = jpeg({ bytes: 400_000 });
  const { gateway } = useGateway();

  const newTicket = async () => {
    const user = await gateway.createUser();
    const api = createApi(gateway.url, user.token);
    const ticket = await api.openTicket(1);
    const { token, id: tokenId } = await issueToken(gateway.db, { userId: user.id, ticketId: ticket.id });
    return { user, api, ticket, token, tokenId };
  };
  /** Sends bytes all the time, as a client does that is not to be stopped by silence; resolves to the answer. */
  const keepSending = (method: string, url: string, token: string, headers: Record<string, string>) => {
    const request = openRequest(method, url, {
      token,
      headers: { 'Content-Type': OFFSET_STREAM, 'Content-Length': `${photo.length}`, ...headers },
    });
    let sent = 0;
    const timer = setInterval(() => {
      if (sent < photo.length / 2) request.write(photo.subarray(sent, sent + 500));
      sent += 500;
    }, 100);
    return answerTo(request).finally(() => {
      clearInterval(timer);
      request.destroy();
    });
  };
  const expectSoon = async (answering: ReturnType<typeof keepSending>) => {
    const since = performance.now();
    expectProblem(await answering, 401, 'unauthorized');
    expect(performance.now() - since).to.be.lessThan(SOON_MS);
  };
  const untilSomeIsHere = (api: ReturnType<typeof createApi>, { id }: Json) =>
    until('some of it is here', async () => (await api.ticket(id)).images[0]?.offset > 0);

  /** As another process does it: this one hears nothing of it. */
  const ends = {
    'was revoked': ({ tokenId }) => revokeToken(gateway.db, tokenId),
    'ran out': ({ tokenId }) => gateway.db('tokens').where({ id: tokenId }).update({ expires_at: new Date() }),
    'was deleted': ({ tokenId }) => gateway.db('tokens').where({ id: tokenId }).delete(),
    'is a disabled user’s': ({ user }) => setUserEnabled(gateway.db, admin, user.username, false),
  } satisfies Record<string, (of: Awaited<ReturnType<typeof newTicket>>) => PromiseLike<unknown>>;

  for (const [what, end] of Object.entries(ends)) {
    it(`ends within seconds when it ${what}; the upload stands where it stood, and others go on with it`, async () => {
      const mine = await newTicket();
      const { ticket, api, token, user } = mine;
      const url = await createEndpoint({ ...ticket, uploadToken: token }).begin({ size: photo.length });
      const answering = keepSending('PATCH', url, token, { 'Upload-Offset': '0' });
      await untilSomeIsHere(api, ticket);
      await end(mine);
      await expectSoon(answering);
      await setUserEnabled(gateway.db, admin, user.username, true);
      const endpoint = createEndpoint(ticket);
      const offset = await until('its owner may go on', async () => {
        const { status, headers } = await endpoint.head(url);
        return status === 200 ? Number(headers['upload-offset']) : null;
      });
      expect((await endpoint.patch(url, offset, photo.subarray(offset))).status).to.equal(204);
    });
  }

  it('ends likewise when its client signs out', async () => {
    const { ticket, api, user } = await newTicket();
    const { token } = await issueToken(gateway.db, { userId: user.id });
    const url = await createEndpoint(ticket).begin({ size: photo.length });
    const answering = keepSending('PATCH', url, token, { 'Upload-Offset': '0' });
    await untilSomeIsHere(api, ticket);
    expect((await api.call('POST', '/v1/auth/logout', { token })).status).to.equal(204);
    await expectSoon(answering);
  });

  it('ends likewise when it came with its creation, and gives its place back', async () => {
    const { ticket, api, token, tokenId } = await newTicket();
    const answering = keepSending('POST', ticket.uploadUrl, token, { 'Upload-Length': `${photo.length}` });
    await untilSomeIsHere(api, ticket);
    await revokeToken(gateway.db, tokenId);
    await expectSoon(answering);
    expect((await api.ticket(ticket.id)).counts.uploading).to.equal(0);
  });
});

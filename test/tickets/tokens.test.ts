import { expect } from 'chai';
import { findCaller, issueToken } from '../../src/identity/tokens.ts';
import { type Api, createApi, type Json, until } from '../support/client.ts';
import { useGateway } from '../support/gateway.ts';

describe('the upload tokens of a ticket', () => {
  const { gateway } = useGateway();
  let owner: Api;
  let userId: string;
  before(async () => {
    const user = await gateway.createUser();
    userId = user.id;
    owner = createApi(gateway.url, user.token);
  });

  const list = async (ticket: Json, query = ''): Promise<Json> =>
    (await owner.call('GET', `/v1/tickets/${ticket.id}/tokens${query}`)).body;
  const end = (ticket: Json, tokenId: string, token?: string) =>
    owner.call('DELETE', `/v1/tickets/${ticket.id}/tokens/${tokenId}`, token ? { token } : {});
  const watch = async (ticket: Json, token: string) =>
    (await owner.call('GET', `/v1/tickets/${ticket.id}`, { token })).status;

  it('are listed newest first, page by page, without the tokens themselves', async () => {
    const key = { headers: { 'Idempotency-Key': 'listed' }, body: { images: 1 } };
    const opened: Json[] = [];
    for (let n = 0; n < 3; n++) opened.push((await owner.call('POST', '/v1/tickets', key)).body);
    const [ticket] = opened;
    const ids = await Promise.all(
      opened.map(async ({ uploadToken }) => (await findCaller(gateway.db, uploadToken))?.tokenId),
    );
    const answer = await owner.call('GET', `/v1/tickets/${ticket.id}/tokens`);
    expect(answer.status).to.equal(200);
    expect(answer.headers.get('Cache-Control')).to.equal('no-store');
    expect(answer.body.nextCursor).to.equal(null);
    expect(answer.body.items.map(({ id }: Json) => id)).to.deep.equal(ids.toReversed());
    for (const item of answer.body.items) expect(item).to.have.all.keys('id', 'createdAt', 'lastUsedAt', 'expiresAt');
    expect(JSON.stringify(answer.body)).not.to.include('hop_');

    const first = await list(ticket, '?limit=2');
    expect(first.items.map(({ id }: Json) => id)).to.deep.equal([ids[2], ids[1]]);
    const second = await list(ticket, `?limit=2&cursor=${first.nextCursor}`);
    expect(second.items.map(({ id }: Json) => id)).to.deep.equal([ids[0]]);
    expect(second.nextCursor).to.equal(null);
    for (const query of ['?limit=0', '?limit=x', '?cursor=x', '?odd=1'])
      expect((await list(ticket, query)).code, query).to.equal('invalid-request');
  });

  it('say when they were used last', async () => {
    const ticket = await owner.openTicket(1);
    expect((await list(ticket)).items[0].lastUsedAt).to.equal(null);
    await watch(ticket, ticket.uploadToken);
    const used = await until('the use is noted', async () => (await list(ticket)).items[0].lastUsedAt);
    expect(Date.now() - Date.parse(used)).to.be.within(0, 20_000);
  });

  it('end one by one, at once and once, for the owner alone', async () => {
    const ticket = await owner.openTicket(1);
    const other = (await issueToken(gateway.db, { userId, ticketId: ticket.id })).token;
    const tokenId = (await findCaller(gateway.db, ticket.uploadToken))?.tokenId ?? '';
    expect([await watch(ticket, ticket.uploadToken), await watch(ticket, other)]).to.deep.equal([200, 200]);

    const stranger = (await gateway.createUser()).token;
    expect((await end(ticket, tokenId, stranger)).body.code).to.equal('ticket-not-found');
    expect((await end(ticket, tokenId, ticket.uploadToken)).body.code).to.equal('forbidden');
    expect(await watch(ticket, ticket.uploadToken)).to.equal(200);

    const { status, body } = await end(ticket, tokenId);
    expect([status, body]).to.deep.equal([204, '']);
    expect([await watch(ticket, ticket.uploadToken), await watch(ticket, other)]).to.deep.equal([401, 200]);
    expect((await list(ticket)).items.map(({ id }: Json) => id)).not.to.include(tokenId);
    const again = await end(ticket, tokenId);
    expect([again.status, again.body.code]).to.deep.equal([404, 'token-not-found']);
  });

  it('are no other tokens: not the owner’s, not another ticket’s, not a token itself', async () => {
    const [ticket, another] = [await owner.openTicket(1), await owner.openTicket(1)];
    const ownId = (await findCaller(gateway.db, owner.token))?.tokenId ?? '';
    const anothers = (await findCaller(gateway.db, another.uploadToken))?.tokenId ?? '';
    for (const id of [ownId, anothers, ticket.id, 'x', ticket.uploadToken]) {
      const { status, body } = await end(ticket, id);
      expect([status, body.code], id).to.deep.equal([404, 'token-not-found']);
      expect(JSON.stringify(body)).not.to.include('hop_');
    }
    expect(await watch(another, another.uploadToken)).to.equal(200);
    expect((await owner.call('GET', '/v1/tickets')).status).to.equal(200);
  });

  it('are not shown once they expired', async () => {
    const ticket = await owner.openTicket(1);
    const { id } = await issueToken(gateway.db, {
      userId,
      ticketId: ticket.id,
      expiresAt: new Date(Date.now() - 1000),
    });
    expect((await list(ticket)).items).to.have.length(1);
    expect((await end(ticket, id)).status, 'it is there until it is swept').to.equal(204);
  });
});

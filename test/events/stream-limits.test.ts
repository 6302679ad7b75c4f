import { expect } from 'chai';
import { until } from '../support/client.ts';
import { useGateway } from '../support/gateway.ts';
import { listenTo, type TestListener } from './listener.ts';

describe('open event streams', () => {
  const { gateway, api } = useGateway({ MAX_STREAMS_PER_TOKEN: '2', MAX_STREAMS_PER_USER: '3' });

  it('are few for a token, and for a user with the upload tokens of the tickets; others have their own', async () => {
    const ticket = await api.openTicket(1);
    const everything = `${gateway.url}/v1/events`;
    const open: TestListener[] = [];
    const listen = async (url: string, token: string) => {
      const listener = await listenTo(url, token);
      if (listener.status === 200) open.push(listener);
      return listener;
    };
    const statuses = [];
    for (const [url, token] of [
      [ticket.eventsUrl, ticket.uploadToken],
      [ticket.eventsUrl, ticket.uploadToken],
      [ticket.eventsUrl, ticket.uploadToken],
      [everything, api.token],
      [everything, api.token],
      [ticket.eventsUrl, api.token],
    ])
      statuses.push((await listen(url, token)).status);
    expect(statuses).to.deep.equal([200, 200, 429, 200, 429, 429]);
    const refused = await listen(ticket.eventsUrl, ticket.uploadToken);
    expect(refused.headers['retry-after']).to.match(/^\d+$/);
    expect(refused.headers['content-type']).to.match(/^application\/problem\+json/);
    const stranger = (await gateway.createUser()).token;
    expect((await listen(everything, stranger)).status).to.equal(200);
    // Refused ones hold nothing, and what is left is free again.
    open.shift()?.leave();
    await until('there is room again', async () => (await listen(everything, api.token)).status === 200);
    for (const listener of open) listener.leave();
    await until('all have left', async () => {
      const fresh = await Promise.all([1, 2].map(() => listenTo(everything, api.token)));
      for (const listener of fresh) listener.leave();
      return fresh.every(({ status }) => status === 200);
    });
  });
});

import { Validator } from '@seriousme/openapi-schema-validator';
import { expect } from 'chai';
import { TicketQuery } from '../../src/tickets/list.ts';
import { OpenedTicket, TicketDetail, TicketPageView } from '../../src/tickets/schemas.ts';
import { createApi, type Json, tusOptions, tusUpload, untilCompleted } from '../support/client.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';

describe('the OpenAPI document', () => {
  let gateway: TestGateway;
  let document: Json;
  before(async () => {
    gateway = await startTestGateway();
    document = await (await fetch(`${gateway.url}/openapi.json`)).json();
  });
  after(() => gateway.close());

  it('is valid OpenAPI 3.1', async () => {
    const { valid, errors } = await new Validator().validate(structuredClone(document));
    expect(errors ?? []).to.deep.equal([]);
    expect(valid).to.equal(true);
    expect(document.openapi).to.equal('3.1.0');
  });

  it('describes the query that the list checks, by the same names', () => {
    const names = document.paths['/v1/tickets'].get.parameters.map(({ name }: Json) => name);
    expect(names).to.have.members(Object.keys(TicketQuery.shape));
  });

  it('names every route that answers and none that does not', async () => {
    const { token } = await gateway.createUser();
    const api = createApi(gateway.url, token);
    const ticket = await api.openTicket(1);
    for (const [path, methods] of Object.entries<Json>(document.paths)) {
      const real = path.replace('{ticketId}', ticket.id).replace('{imageId}', ticket.id);
      const { status, headers } = await api.call('PROPFIND', real);
      expect(status, path).to.equal(405);
      const documented = Object.keys(methods).filter((name) => name !== 'parameters');
      const allowed = (headers.get('Allow') ?? '').toLowerCase().split(', ');
      expect(allowed, path).to.include.members(documented);
      // HEAD beside GET, and OPTIONS, go without saying.
      expect(allowed.filter((method) => !['head', 'options'].includes(method))).to.have.members(
        documented.filter((method) => !['head', 'options'].includes(method)),
      );
    }
  });

  it('says exactly what the API answers', async () => {
    const api = createApi(gateway.url, (await gateway.createUser()).token);
    const ticket = await api.openTicket(2, { description: 'two', metadata: { a: [1, { b: null }] } });
    OpenedTicket.parse(ticket);
    await tusUpload(jpeg({ bytes: 20_000 }), { ...tusOptions(ticket), metadata: { filename: 'a.jpg', slot: 'one' } });
    TicketDetail.parse(await api.ticket(ticket.id));
    await tusUpload(jpeg({ bytes: 20_000, seed: 2 }), tusOptions(ticket));
    const completed = TicketDetail.parse(await untilCompleted(api, ticket.id));
    expect(completed.images).to.have.length(2);
    TicketPageView.parse((await api.call('GET', '/v1/tickets?limit=1')).body);
  });
});

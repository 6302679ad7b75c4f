import { Validator } from '@seriousme/openapi-schema-validator';
import { expect } from 'chai';
import { errorKinds } from '../../src/model/errors.ts';
import { TicketQuery } from '../../src/tickets/list.ts';
import { OpenedTicket, TicketDetail, TicketPageView } from '../../src/tickets/schemas.ts';
import { createApi, type Json, tusOptions, tusUpload, untilCompleted } from '../support/client.ts';
import { type Answered, deviationOf, mismatch } from '../support/contract.ts';
import { useGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';

describe('the OpenAPI document', () => {
  const { gateway } = useGateway();
  let document: Json;
  before(async () => {
    document = await (await fetch(`${gateway.url}/openapi.json`)).json();
  });

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

  it('has examples for every call: bodies, headers and parameters, each of the shape that it is an example of', () => {
    const text = JSON.stringify(document);
    for (const [path, { parameters: shared = [], ...operations }] of Object.entries<Json>(document.paths)) {
      for (const [method, operation] of Object.entries<Json>(operations)) {
        const call = `${method} ${path}`;
        for (const { name, schema } of [...shared, ...(operation.parameters ?? [])]) {
          const values = schema.examples ?? schema.items?.enum ?? [schema.const ?? schema.default];
          expect(values[0], `${call} ${name}`).to.not.equal(undefined);
        }
        const bodies = Object.values<Json>(operation.responses).flatMap(({ content }) =>
          Object.entries<Json>(content ?? {}),
        );
        for (const [type, { schema, example, examples }] of [
          ...bodies,
          ...Object.entries<Json>(operation.requestBody?.content ?? {}),
        ]) {
          if (schema.format === 'binary') continue;
          const values = examples ? Object.values<Json>(examples).map(({ value }) => value) : [example];
          expect(values, `${call} ${type}`).to.not.be.empty;
          for (const value of values)
            if (schema.$ref) expect(mismatch(schema.$ref, value), call).to.equal(null);
            else expect(value, call).to.be.a('string');
        }
        for (const { headers = {} } of Object.values<Json>(operation.responses))
          for (const [name, { example }] of Object.entries<Json>(headers)) expect(example, `${call} ${name}`).to.exist;
      }
    }
    for (const code of Object.keys(errorKinds))
      expect(text, code).to.match(new RegExp(`"${code}":\\{"summary"|\`${code}\``));
  });

  it('describes every event, and a stream of them as it comes', () => {
    for (const path of ['/v1/tickets/{ticketId}/events', '/v1/events']) {
      const { example, 'x-events': events } = document.paths[path].get.responses[200].content['text/event-stream'];
      const names = [...example.matchAll(/^event: (\w+)$/gm)].map(([, name]) => name);
      expect(names).to.have.members(Object.keys(events));
      expect(
        deviationOf(
          answered({ path: path.replace('{ticketId}', 'x'), contentType: 'text/event-stream', body: example }),
        ),
      ).to.equal(null);
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

  // Every gateway of the suite is held to it, see support/contract.ts; here, that this sees what deviates.
  it('lets no answer pass that it does not describe', () => {
    const { example } = document.paths['/v1/tickets'].get.responses[200].content['application/json'];
    const page = (change: Json) => JSON.stringify({ ...example, ...change });
    const problem = (code: string) =>
      JSON.stringify({ type: 'x', title: 'x', status: 422, detail: 'x', code, requestId: 'x' });
    const type = 'application/problem+json';
    expect(deviationOf(answered({ body: page({}) }))).to.equal(null);
    expect(deviationOf(answered({ status: 202, body: page({}) }))).to.include('202 is not documented');
    expect(deviationOf(answered({ contentType: 'text/html', body: '<p>' }))).to.include('text/html is not documented');
    expect(deviationOf(answered({ body: page({ nextCursor: 7 }) }))).to.include('nextCursor must be string');
    expect(deviationOf(answered({ body: page({ more: 1 }) }))).to.include('additional properties');
    expect(deviationOf(answered({ body: '' }))).to.equal('there is no body');
    expect(deviationOf(answered({ status: 422, contentType: type, body: problem('invalid-request') }))).to.equal(null);
    expect(deviationOf(answered({ status: 422, contentType: type, body: problem('ticket-full') }))).to.include(
      'ticket-full',
    );
    expect(deviationOf(answered({ path: '/nowhere', contentType: type, body: problem('no-such-code') }))).to.include(
      'code',
    );
    const stream = { path: '/v1/events', contentType: 'text/event-stream' };
    expect(deviationOf(answered({ ...stream, body: 'event: end\ndata: {}\n\n' }))).to.include('end is not documented');
    expect(deviationOf(answered({ ...stream, body: 'event: image\ndata: {}\n\n' }))).to.include('image: ');
  });
});

function answered(what: Partial<Answered>): Answered {
  return { method: 'GET', path: '/v1/tickets', status: 200, contentType: 'application/json', body: '', ...what };
}

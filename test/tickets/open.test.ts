import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { type Answer, createApi, type Json } from '../support/client.ts';
import { startTestGateway, useGateway } from '../support/gateway.ts';

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

describe('opening a ticket', () => {
  const { gateway, api } = useGateway();

  const open = (body: unknown, headers: Record<string, string> = {}) =>
    api.call('POST', '/v1/tickets', { body, headers });
  const openRaw = (text: string | Buffer, headers: Record<string, string> = { 'Content-Type': 'application/json' }) =>
    api.call('POST', '/v1/tickets', { body: Buffer.from(text), headers });

  it('answers with all of the ticket, its address and an upload token', async () => {
    const metadata = {
      order: 12,
      nested: { tags: ['a', 'ü', '😀'], none: null, deep: [[[1.5, -2, true]]] },
      '': '\\u0000',
    };
    const { status, headers, body } = await open({
      images: 3,
      description: 'Drei Fotos 😀',
      metadata,
      expiresIn: 3600,
    });
    expect(status).to.equal(201);
    expect(headers.get('Location')).to.equal(`${gateway.url}/v1/tickets/${body.id}`);
    expect(headers.get('Cache-Control')).to.equal('no-store');
    expect(body.id).to.match(UUID_V7);
    for (const time of ['createdAt', 'updatedAt', 'expiresAt']) expect(body[time], time).to.match(TIME);
    expect(Date.parse(body.expiresAt) - Date.parse(body.createdAt)).to.be.within(3_599_998, 3_600_002);
    expect(body.uploadToken).to.match(/^hop_[\w-]{43}$/);
    const { id, createdAt, updatedAt, expiresAt, uploadToken, ...rest } = body;
    expect(rest).to.deep.equal({
      status: 'pending',
      description: 'Drei Fotos 😀',
      metadata,
      counts: { expected: 3, uploading: 0, received: 0, stored: 0, failed: 0 },
      bytes: { received: 0, stored: 0, total: 0 },
      completedAt: null,
      uploadUrl: `${gateway.url}/v1/tickets/${id}/uploads`,
      eventsUrl: `${gateway.url}/v1/tickets/${id}/events`,
      version: 1,
    });
    const { images, ...detail } = await api.ticket(id);
    expect(images).to.deep.equal([]);
    expect({ ...detail, uploadToken }, 'the token is shown only once').to.deep.equal(body);
  });

  it('needs the number of images alone', async () => {
    const { status, body } = await open({ images: 1 });
    expect(status).to.equal(201);
    expect(body).to.include({ description: null, metadata: null });
    expect(Date.parse(body.expiresAt) - Date.parse(body.createdAt)).to.be.within(86_399_998, 86_400_002);
  });

  it('takes every value at its limits', async () => {
    const metadata = { text: 'x'.repeat(4096 - JSON.stringify({ text: '' }).length) };
    for (const body of [
      { images: 1000, description: 'ü'.repeat(255), metadata, expiresIn: 604_800 },
      { images: 1, description: '', metadata: {}, expiresIn: 60 },
      { images: 1, description: null, metadata: null },
      { images: 1, description: 'it says \\u0000', metadata: { text: 'it says \\u0000' } },
      { images: 1, metadata: { list: nested(30) } },
    ]) {
      const answer = await open(body);
      expect(answer.status, JSON.stringify(answer.body)).to.equal(201);
      const { images, ...same } = body;
      const { expiresIn, ...kept } = { expiresIn: 0, ...same };
      expect(await api.ticket(answer.body.id)).to.deep.include(kept);
    }
  });

  const refused: [name: string, body: Json, paths: string[]][] = [
    ['no images', {}, ['images']],
    ['no image at all', { images: 0 }, ['images']],
    ['too many images', { images: 1001 }, ['images']],
    ['half an image', { images: 1.5 }, ['images']],
    ['a number as text', { images: '3' }, ['images']],
    ['null images', { images: null }, ['images']],
    ['a description that is none', { images: 1, description: 5 }, ['description']],
    ['a description too long', { images: 1, description: 'x'.repeat(256) }, ['description']],
    ['a description with NUL', { images: 1, description: 'a\0b' }, ['description']],
    ['a description with half a character', { images: 1, description: 'a\ud800b' }, ['description']],
    ['metadata that is an array', { images: 1, metadata: [] }, ['metadata']],
    ['metadata that is text', { images: 1, metadata: 'x' }, ['metadata']],
    ['metadata over 4 KiB', { images: 1, metadata: { text: 'x'.repeat(4096) } }, ['metadata']],
    ['metadata over 4 KiB in UTF-8', { images: 1, metadata: { text: 'ü'.repeat(2048) } }, ['metadata']],
    ['metadata with NUL', { images: 1, metadata: { text: 'a\0b' } }, ['metadata']],
    ['metadata with NUL in a name', { images: 1, metadata: { deep: [{ 'a\0b': 1 }] } }, ['metadata']],
    ['metadata with half a character', { images: 1, metadata: { deep: [{ text: '\udc00' }] } }, ['metadata']],
    ['metadata nested too deep', { images: 1, metadata: { list: nested(32) } }, ['metadata']],
    ['an expiry too soon', { images: 1, expiresIn: 59 }, ['expiresIn']],
    ['an expiry too late', { images: 1, expiresIn: 604_801 }, ['expiresIn']],
    ['an expiry as text', { images: 1, expiresIn: 'PT1H' }, ['expiresIn']],
    ['an unknown field', { images: 1, image: 1 }, ['']],
    ['a list', [], ['']],
    [
      'several problems at once',
      { images: -1, description: 1, metadata: 2, expiresIn: 3, more: 4 },
      ['', 'description', 'expiresIn', 'images', 'metadata'],
    ],
  ];
  for (const [name, body, paths] of refused) {
    it(`refuses ${name}, and says where`, async () => {
      const answer = await open(body);
      expectInvalid(answer, paths);
    });
  }

  it('refuses a number that JSON has and no program', async () => {
    expectInvalid(await openRaw('{"images":1,"metadata":{"n":1e400}}'), ['metadata']);
  });

  it('refuses a body that nests as deep as its 64 KiB allow', async () => {
    for (const [begin, end] of [
      ['[', ']'],
      ['{"a":', '}'],
    ] as const) {
      const depth = Math.floor(60_000 / (begin.length + end.length));
      const text = `{"images":1,"metadata":{"a":${begin.repeat(depth)}1${end.repeat(depth)}}}`;
      const answer = await openRaw(text);
      expectInvalid(answer, ['metadata']);
    }
  });

  it('answers 400 to what is not JSON', async () => {
    for (const text of [
      '{',
      '{"images":1',
      'images=1',
      '"text"',
      '5',
      'null',
      '{"images":1}}',
      "{'images':1}",
      '\0',
      '\xff',
    ]) {
      const { status, body } = await openRaw(Buffer.from(text, 'latin1'));
      expect([status, body.code], text).to.deep.equal([400, 'malformed-json']);
    }
    for (const text of ['{"images":1,"metadata":{"__proto__":{"a":1}}}', '{"images":1,"__proto__":null}']) {
      const { status } = await openRaw(text);
      expect(status, text).to.be.oneOf([400, 422]);
    }
  });

  it('answers 413 to more than 64 KiB, however they come', async () => {
    const text = JSON.stringify({ images: 1, description: 'x'.repeat(64 * 1024) });
    const chunked = await fetch(new URL('/v1/tickets', gateway.url), {
      method: 'POST',
      headers: { Authorization: `Bearer ${api.token}`, 'Content-Type': 'application/json' },
      body: new Blob([text]).stream(),
      duplex: 'half',
    } as RequestInit);
    const bomb = gzipSync(`{"images":1,"description":"${'x'.repeat(20_000_000)}"}`);
    for (const { status, body } of [
      await openRaw(text),
      { status: chunked.status, body: (await chunked.json()) as Json },
      await openRaw(bomb, { 'Content-Type': 'application/json', 'Content-Encoding': 'gzip' }),
    ]) {
      expect([status, body.code]).to.deep.equal([413, 'body-too-large']);
    }
    const justFits = JSON.stringify({ images: 1 }).padEnd(64 * 1024);
    expect((await openRaw(justFits)).status).to.equal(201);
  });

  it('answers 415 to a body that is not JSON by its type, and takes a charset', async () => {
    for (const type of [
      'text/plain',
      'application/x-www-form-urlencoded',
      'application/jsonp',
      'nonsense',
      'application/problem+json',
    ]) {
      const { status, body } = await openRaw('{"images":1}', { 'Content-Type': type });
      expect([status, body.code], type).to.deep.equal([415, 'unsupported-media-type']);
    }
    for (const headers of [{}, { 'Content-Type': 'application/json', 'Content-Encoding': 'rot13' }]) {
      const { status, body } = await openRaw('{"images":1}', headers);
      expect([status, body.code]).to.deep.equal([415, 'unsupported-media-type']);
    }
    for (const type of ['application/json; charset=utf-8', 'APPLICATION/JSON', 'application/json;']) {
      expect((await openRaw('{"images":1}', { 'Content-Type': type })).status, type).to.equal(201);
    }
  });

  it('answers 415 or 422 to no body', async () => {
    const { status } = await api.call('POST', '/v1/tickets');
    expect(status).to.equal(415);
    expectInvalid(await openRaw(''), ['images']);
  });

  it('limits what one user opens in a minute, and tells when to come back', async () => {
    const strict = await startTestGateway({ MAX_CREATIONS_PER_MINUTE: '3' });
    try {
      const [one, two] = [await strict.createUser(), await strict.createUser()].map(({ token }) =>
        createApi(strict.url, token),
      );
      for (let count = 1; count <= 3; count++) await one?.openTicket(1);
      const refusal = await one?.call('POST', '/v1/tickets', { body: { images: 1 } });
      expect([refusal?.status, refusal?.body.code]).to.deep.equal([429, 'too-many-requests']);
      expect(Number(refusal?.headers.get('Retry-After'))).to.be.within(1, 60);
      await two?.openTicket(1);
    } finally {
      await strict.close();
    }
  });

  describe('with an Idempotency-Key', () => {
    const repeat = (key: string, body: unknown = { images: 2 }) => open(body, { 'Idempotency-Key': key });

    it('gives a repeat the same ticket, and a token of its own that works beside the first', async () => {
      const first = await repeat('key-1');
      const again = await repeat('key-1');
      expect([first.status, again.status]).to.deep.equal([201, 201]);
      const { uploadToken: one, ...ticket } = first.body;
      const { uploadToken: two, ...same } = again.body;
      expect(same).to.deep.equal(ticket);
      expect(one).to.not.equal(two);
      for (const token of [one, two])
        expect((await api.call('GET', `/v1/tickets/${ticket.id}`, { token })).status).to.equal(200);
    });

    it('gives racing repeats one ticket', async () => {
      const answers = await Promise.all(Array.from({ length: 20 }, () => repeat('race')));
      expect(answers.map(({ status }) => status)).to.deep.equal(Array(20).fill(201));
      expect(new Set(answers.map(({ body }) => body.id)).size).to.equal(1);
      expect(new Set(answers.map(({ body }) => body.uploadToken)).size).to.equal(20);
    });

    it('refuses another body, also in a race', async () => {
      await repeat('other');
      const { status, body } = await repeat('other', { images: 3 });
      expect([status, body.code]).to.deep.equal([422, 'idempotency-key-reused']);
      expect((await repeat('other', { images: 2, expiresIn: 86_400 })).status, 'a default, said').to.equal(201);
      const racing = await Promise.all([1, 2, 3, 4].map((images) => repeat('other-race', { images })));
      expect(racing.map(({ status }) => status).sort()).to.deep.equal([201, 422, 422, 422]);
    });

    it('keeps the keys of users apart', async () => {
      const other = createApi(gateway.url, (await gateway.createUser()).token);
      const mine = await repeat('shared');
      const theirs = await other.call('POST', '/v1/tickets', {
        body: { images: 9 },
        headers: { 'Idempotency-Key': 'shared' },
      });
      expect(theirs.status).to.equal(201);
      expect(theirs.body.id).to.not.equal(mine.body.id);
    });

    it('takes 255 characters and no more, and nothing that is not printable', async () => {
      expect((await repeat('k'.repeat(255))).status).to.equal(201);
      expectInvalid(await repeat('k'.repeat(256)), ['Idempotency-Key']);
      expectInvalid(await repeat('schlüssel'), ['Idempotency-Key']);
    });

    it('leaves the key free when the first call was refused', async () => {
      expect((await repeat('free', { images: 0 })).status).to.equal(422);
      expect((await repeat('free')).status).to.equal(201);
    });
  });
});

function nested(depth: number): unknown {
  return depth === 0 ? 1 : [nested(depth - 1)];
}

function expectInvalid({ status, headers, body }: Answer, paths: string[]): void {
  expect([status, body.code], JSON.stringify(body)).to.deep.equal([422, 'invalid-request']);
  expect(headers.get('Content-Type')).to.include('application/problem+json');
  expect(body.errors.map(({ path }: Json) => path).sort()).to.deep.equal(paths);
  for (const { message } of body.errors) expect(message).to.be.a('string').with.length.above(5);
}

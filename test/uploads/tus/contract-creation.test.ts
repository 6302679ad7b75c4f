import { gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { until, untilCompleted } from '../../support/client.ts';
import { useGateway } from '../../support/gateway.ts';
import { jpeg } from '../../support/images.ts';
import { createEndpoint, expectProblem, expectReadable, OFFSET_STREAM } from '../raw.ts';

const MAX_BYTES = 1_000_000;

describe('creating an upload', () => {
  const photo = jpeg({ bytes: 20_000 });
  const { gateway, api } = useGateway({ MAX_IMAGE_BYTES: `${MAX_BYTES}` });

  const open = async (images: number) => {
    const ticket = await api.openTicket(images);
    return { ticket, endpoint: createEndpoint(ticket) };
  };
  const countsOf = async (id: string) => (await api.ticket(id)).counts;

  it('answers with the address, the expiry, and nothing else to read', async () => {
    const { ticket, endpoint } = await open(1);
    const answer = await endpoint.create({ size: 10, metadata: { filename: 'a.jpg' } });
    expect([answer.status, answer.body]).to.deep.equal([201, '']);
    expect(answer.headers.location).to.match(new RegExp(`^${ticket.uploadUrl}/[0-9a-f-]{36}$`));
    expect(answer.headers['upload-expires']).to.equal(new Date(ticket.expiresAt).toUTCString());
    expect(answer.headers['tus-resumable']).to.equal('1.0.0');
    expectReadable(answer);
  });

  it('tells the expiry of every unfinished upload, and of no finished one', async () => {
    const { ticket, endpoint } = await open(2);
    const expires = new Date(ticket.expiresAt).toUTCString();
    const url = await endpoint.begin({ size: photo.length });
    expect((await endpoint.head(url)).headers['upload-expires']).to.equal(expires);
    const part = await endpoint.patch(url, 0, photo.subarray(0, 7));
    expect(part.headers['upload-expires']).to.equal(expires);
    const last = await endpoint.patch(url, 7, photo.subarray(7));
    expect([last.status, last.headers['upload-expires']]).to.deep.equal([204, undefined]);
    expect((await endpoint.head(url)).headers['upload-expires']).to.equal(undefined);
    const whole = await endpoint.create({ size: photo.length, body: photo });
    expect([whole.status, whole.headers['upload-expires']]).to.deep.equal([201, undefined]);
  });

  it('gives the metadata back to HEAD as it came', async () => {
    const { endpoint } = await open(2);
    // A value may be left out, be empty, and need not be text.
    for (const metadata of ['filename YS5qcGc=,flag,empty ,bytes /wD+', ' filename YS5qcGc=']) {
      const url = await endpoint.begin({ size: 10, headers: { 'Upload-Metadata': metadata } });
      expect((await endpoint.head(url)).headers['upload-metadata']).to.equal(metadata.trim());
    }
  });

  it('takes pairs with blanks around them, as TUSKit and two header lines of one name make them', async () => {
    const { ticket, endpoint } = await open(3);
    const pairs = [`slot ${Buffer.from('one').toString('base64')}`, 'filename YS5qcGc='];
    const [first, ...repeats] = [pairs.join(', '), pairs.join(' ,\t'), ` ${pairs.join(',  ')} `, pairs.join(',')];
    const url = await endpoint.begin({ size: 10, headers: { 'Upload-Metadata': first ?? '' } });
    for (const header of repeats)
      expect(await endpoint.begin({ size: 10, headers: { 'Upload-Metadata': header } })).to.equal(url);
    const lines = { headers: { 'Upload-Metadata': pairs as unknown as string } };
    expect(await endpoint.begin({ size: 10, ...lines })).to.equal(url);
    const { images } = await api.ticket(ticket.id);
    expect(images).to.have.lengthOf(1);
    expect(images[0]).to.include({ slot: 'one', filename: 'a.jpg' });
  });

  it('refuses a slot that is no UTF-8, as two of them would become one', async () => {
    const { endpoint } = await open(2);
    for (const bytes of [Buffer.of(0xff), Buffer.of(0xfe)]) {
      const headers = { 'Upload-Metadata': `slot ${bytes.toString('base64')}` };
      const answer = await endpoint.create({ size: 10, headers });
      expectProblem(answer, 422, 'invalid-request');
      expect(answer.body.errors[0].path).to.equal('Upload-Metadata.slot');
    }
  });

  it('takes empty metadata for none', async () => {
    const { endpoint } = await open(1);
    const url = await endpoint.begin({ size: 10, headers: { 'Upload-Metadata': '' } });
    expect((await endpoint.head(url)).headers['upload-metadata']).to.equal(undefined);
  });

  it('refuses metadata, slots and checksums that cannot be meant', async () => {
    const { ticket, endpoint } = await open(1);
    const create = (header: string) => endpoint.create({ size: 10, headers: { 'Upload-Metadata': header } });
    for (const header of [
      'filename not-base64!',
      'a b c',
      ',',
      'a YQ==,',
      'a YQ==,a YQ==',
      'filename YQ',
      'ä YQ==',
      'a Y===',
    ]) {
      expectProblem(await create(header), 400, 'malformed-request');
    }
    expectProblem(await create(`filename ${'YWFh'.repeat(4_000)}`), 431, 'headers-too-large');
    for (const metadata of [
      { slot: 'x'.repeat(65) },
      { slot: 'a\0b' },
      { slot: 'a\nb' },
      { sha256: 'abc' },
      { sha256: 'g'.repeat(64) },
      { sha256: '0'.repeat(65) },
    ]) {
      const answer = await endpoint.create({ size: 10, metadata });
      expectProblem(answer, 422, 'invalid-request');
      expect(answer.body.errors[0].path).to.equal(`Upload-Metadata.${Object.keys(metadata)[0]}`);
    }
    expect(await countsOf(ticket.id)).to.include({ uploading: 0 });
    await endpoint.begin({ size: 10, metadata: { slot: '🌻'.repeat(64) } });
  });

  it('keeps what can be read of a filename', async () => {
    const { ticket, endpoint } = await open(2);
    await endpoint.begin({ size: 10, metadata: { filename: ` ../IMG\0_1\r\n.jpg\u2028 ` } });
    await endpoint.begin({ size: 10, metadata: { filename: '🌻'.repeat(300) } });
    const { images } = await api.ticket(ticket.id);
    expect(images[0].filename).to.equal('../IMG_1.jpg');
    expect(images[1].filename).to.equal('🌻'.repeat(255));
  });

  it('refuses sizes that no image has', async () => {
    const { ticket, endpoint } = await open(1);
    expectProblem(await endpoint.create({ size: 0 }), 422, 'empty-image');
    expectProblem(await endpoint.create({ size: MAX_BYTES + 1 }), 413, 'image-too-large');
    const length = (headers: Record<string, string>) => endpoint.send('POST', endpoint.uploadUrl, { headers });
    expectProblem(await length({ 'Upload-Length': '9'.repeat(15) }), 413, 'image-too-large');
    for (const digits of [16, 400])
      expectProblem(await length({ 'Upload-Length': '9'.repeat(digits) }), 413, 'image-too-large');
    for (const size of ['-1', '+10', '1.5', '1e3', '0x10', 'NaN', '', '0100', '10, 10'])
      expectProblem(await length({ 'Upload-Length': size }), 400, 'malformed-request');
    expectProblem(await length({}), 400, 'malformed-request');
    for (const offset of ['-1', '1.5', 'zero'])
      expectProblem(await length({ 'Upload-Length': '10', 'Upload-Offset': offset }), 400, 'malformed-request');
    expectProblem(await length({ 'Upload-Length': '10', 'Upload-Defer-Length': '1' }), 400, 'malformed-request');
    expectProblem(await length({ 'Upload-Defer-Length': '0' }), 400, 'malformed-request');
    expectProblem(await length({ 'Upload-Concat': 'partial', 'Upload-Length': '10' }), 400, 'malformed-request');
    expect(await countsOf(ticket.id)).to.include({ uploading: 0 });
    await endpoint.begin({ size: MAX_BYTES });
  });

  it('says that a ticket is full, also once it is completed', async () => {
    const { ticket, endpoint } = await open(1);
    await endpoint.begin({ size: photo.length, body: photo });
    expectProblem(await endpoint.create({ size: 10 }), 422, 'ticket-full');
    await untilCompleted(api, ticket.id);
    expectProblem(await endpoint.create({ size: 10 }), 422, 'ticket-full');
    expectProblem(await endpoint.create({ size: photo.length, body: photo }), 422, 'ticket-full');
  });

  it('says that a ticket has expired, from the very moment', async () => {
    const { ticket, endpoint } = await open(2);
    const url = await endpoint.begin({ size: photo.length });
    await gateway.db('tickets').where({ id: ticket.id }).update({ expires_at: gateway.db.fn.now() });
    expectProblem(await endpoint.create({ size: 10 }), 410, 'ticket-expired');
    await until('the ticket is closed', async () => (await api.ticket(ticket.id)).status === 'expired');
    expectProblem(await endpoint.create({ size: 10 }), 410, 'ticket-expired');
    expect((await endpoint.head(url)).status).to.equal(410);
  });

  it('takes a whole image with the creation', async () => {
    const { ticket, endpoint } = await open(1);
    const { status, headers } = await endpoint.create({ size: photo.length, body: photo });
    expect([status, headers['upload-offset']]).to.deep.equal([201, `${photo.length}`]);
    expect((await endpoint.head(String(headers.location))).headers['upload-offset']).to.equal(`${photo.length}`);
    const { images } = await untilCompleted(api, ticket.id);
    const stored = Buffer.from(await (await fetch(images[0].url)).arrayBuffer());
    expect(stored.equals(photo)).to.equal(true);
  });

  it('takes a part of an image with the creation', async () => {
    const { endpoint } = await open(2);
    for (const bytes of [0, 9_999]) {
      const { status, headers } = await endpoint.create({ size: photo.length, body: photo.subarray(0, bytes) });
      expect([status, headers['upload-offset']]).to.deep.equal([201, `${bytes}`]);
      const rest = await endpoint.patch(String(headers.location), bytes, photo.subarray(bytes));
      expect([rest.status, rest.headers['upload-offset']]).to.deep.equal([204, `${photo.length}`]);
    }
  });

  it('refuses a body of another content type before it takes a place', async () => {
    const { ticket, endpoint } = await open(1);
    for (const type of ['image/jpeg', 'application/x-www-form-urlencoded', 'application/offset+octet-streams', '']) {
      const headers = { 'Content-Type': type };
      const whole = await endpoint.create({ size: photo.length, body: photo, headers });
      expectProblem(whole, 415, 'unsupported-media-type');
      const chunked = await endpoint.create({ size: photo.length, body: photo, headers, chunkBytes: 7_000 });
      expectProblem(chunked, 415, 'unsupported-media-type');
    }
    expect((await api.ticket(ticket.id)).images).to.deep.equal([]);
  });

  it('takes any content type of a creation without a body', async () => {
    const { endpoint } = await open(3);
    // That of HttpURLConnection on Android, which tus-java-client cannot leave out.
    for (const type of ['application/x-www-form-urlencoded', 'application/json', OFFSET_STREAM])
      await endpoint.begin({ size: 10, headers: { 'Content-Type': type, 'Content-Length': '0' } });
  });

  it('compares the content type without its parameters and its letter case', async () => {
    for (const type of [
      'Application/Offset+Octet-Stream',
      `${OFFSET_STREAM}; charset=utf-8`,
      `${OFFSET_STREAM} ;a=b`,
    ]) {
      const { ticket, endpoint } = await open(3);
      const headers = { 'Content-Type': type };
      const whole = await endpoint.create({ size: photo.length, body: photo, headers });
      expect([whole.status, whole.headers['upload-offset']]).to.deep.equal([201, `${photo.length}`]);
      const url = await endpoint.begin({ size: photo.length, body: photo.subarray(0, 99), headers });
      expect((await endpoint.patch(url, 99, photo.subarray(99), { headers })).status).to.equal(204);
      const nothing = await endpoint.create({ size: photo.length, headers });
      expect([nothing.status, nothing.headers['upload-offset']]).to.deep.equal([201, '0']);
      expect((await api.ticket(ticket.id)).counts.uploading).to.equal(1);
    }
  });

  it('refuses bytes that are compressed, and leaves the upload as it was', async () => {
    const { ticket, endpoint } = await open(1);
    const headers = { 'Content-Encoding': 'gzip' };
    const squeezed = gzipSync(photo);
    const whole = await endpoint.create({ size: photo.length, body: squeezed, headers });
    expectProblem(whole, 415, 'unsupported-media-type');
    expect(whole.headers['accept-encoding']).to.equal('identity');
    expect((await api.ticket(ticket.id)).images).to.deep.equal([]);
    const identity = { headers: { 'Content-Encoding': 'Identity' } };
    const url = await endpoint.begin({ size: photo.length, body: photo.subarray(0, 99), ...identity });
    for (const coding of ['gzip', 'br', 'identity, gzip', 'aws-chunked'])
      expectProblem(
        await endpoint.patch(url, 99, squeezed, { headers: { 'Content-Encoding': coding } }),
        415,
        'unsupported-media-type',
      );
    expect((await endpoint.head(url)).headers['upload-offset']).to.equal('99');
    expect((await endpoint.patch(url, 99, photo.subarray(99), identity)).status).to.equal(204);
    await untilCompleted(api, ticket.id);
  });

  it('takes no place for a creation with too many bytes, however they come', async () => {
    const { ticket, endpoint } = await open(1);
    for (const more of [{}, { chunkBytes: 1_000 }]) {
      const answer = await endpoint.create({ size: photo.length - 1, body: photo, ...more });
      expectProblem(answer, 413, 'length-exceeded');
      expect(answer.headers.location).to.equal(undefined);
      expect(await countsOf(ticket.id)).to.include({ uploading: 0, received: 0 });
    }
    expect(await gateway.stagedFiles()).to.deep.equal([]);
    await endpoint.begin({ size: photo.length, body: photo, chunkBytes: 1_000 });
  });

  it('takes no place for a creation without a length and with more bytes than any image', async () => {
    const { ticket, endpoint } = await open(1);
    for (const more of [{}, { chunkBytes: 65_536 }]) {
      const answer = await endpoint.create({ size: null, body: jpeg({ bytes: MAX_BYTES + 1 }), ...more });
      expectProblem(answer, 413, 'image-too-large');
      expect(await countsOf(ticket.id)).to.include({ uploading: 0, received: 0 });
    }
    const { headers } = await endpoint.create({ size: null, headers: { 'Content-Type': OFFSET_STREAM } });
    expect(headers['upload-offset']).to.equal('0');
  });

  it('hands out addresses under the public one', async () => {
    await gateway.restart({ PUBLIC_URL: 'https://uploads.example/photos/' });
    const { status, body } = await api.call('POST', '/v1/tickets', { body: { images: 1 } });
    expect(status).to.equal(201);
    const uploadUrl = body.uploadUrl.replace('https://uploads.example/photos', gateway.url);
    const url = await createEndpoint({ ...body, uploadUrl }).begin({ size: 10 });
    expect(url).to.match(new RegExp(`^https://uploads.example/photos/v1/tickets/${body.id}/uploads/[0-9a-f-]{36}$`));
  });
});

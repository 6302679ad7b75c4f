import { expect } from 'chai';
import { createApi, type Json, tusOptions, tusUpload, until, untilCompleted } from '../support/client.ts';
import { useGateway } from '../support/gateway.ts';
import { png } from '../support/images.ts';

describe('the detail of a ticket', () => {
  const { gateway, api } = useGateway();

  it('shows every field of a stored image', async () => {
    const ticket = await api.openTicket(2);
    const photo = png({ width: 40, height: 30, bytes: 5000 });
    const metadata = { filename: 'Straße 😀.png', filetype: 'image/x-lie', slot: 'front' };
    await tusUpload(photo, { ...tusOptions(ticket), metadata });
    const detail = await until('the image is stored', async () => {
      const current = await api.ticket(ticket.id);
      return current.counts.stored === 1 && current;
    });
    expect(detail).to.deep.include({
      status: 'uploading',
      counts: { expected: 2, uploading: 0, received: 0, stored: 1, failed: 0 },
      bytes: { received: 5000, stored: 5000, total: 5000 },
    });
    const [{ id, sha256, url, storage, createdAt, receivedAt, storedAt, ...rest }] = detail.images;
    expect(rest).to.deep.equal({
      slot: 'front',
      filename: 'Straße 😀.png',
      contentType: 'image/png',
      size: 5000,
      offset: 5000,
      status: 'stored',
      width: 40,
      height: 30,
      orientation: null,
      displayWidth: 40,
      displayHeight: 30,
      format: 'png',
      attempts: 0,
      error: null,
    });
    expect(sha256).to.match(/^[0-9a-f]{64}$/);
    expect(url).to.include(id);
    expect(storage).to.have.keys('provider', 'key', 'assetId', 'version', 'width', 'height', 'format');
    expect(storage).to.include({ width: 40, height: 30, format: 'png' });
    for (const time of [createdAt, receivedAt, storedAt]) expect(time).to.match(/^\d{4}-.*\.\d{3}Z$/);
  });

  it('gives each representation a tag, and 304 to who has it already, with either token', async () => {
    const ticket = await api.openTicket(1);
    const path = `/v1/tickets/${ticket.id}`;
    for (const token of [api.token, ticket.uploadToken]) {
      const full = await api.call('GET', path, { token });
      const tag = full.headers.get('ETag') ?? '';
      expect(tag).to.match(/^"[\w-]+"$/);
      expect(full.headers.get('Cache-Control')).to.equal('private, no-cache');
      for (const value of [tag, `W/${tag}`, `"other", ${tag}`, '*']) {
        const { status, body, headers } = await api.call('GET', path, { token, headers: { 'If-None-Match': value } });
        expect([status, body, headers.get('ETag')], value).to.deep.equal([304, '', tag]);
      }
      const head = await api.call('HEAD', path, { token, headers: { 'If-None-Match': tag } });
      expect(head.status).to.equal(304);
      const other = await api.call('GET', path, { token, headers: { 'If-None-Match': '"other"' } });
      expect(other.status).to.equal(200);
    }
    const before = await api.call('GET', path);
    await tusUpload(png({ bytes: 2000 }), tusOptions(ticket));
    await untilCompleted(api, ticket.id);
    const after = await api.call('GET', path, { headers: { 'If-None-Match': before.headers.get('ETag') ?? '' } });
    expect(after.status).to.equal(200);
  });

  it('is the same answer for a ticket of somebody else and for none', async () => {
    const other = createApi(gateway.url, (await gateway.createUser()).token);
    const foreign = await other.openTicket(1);
    const own = await api.openTicket(1);
    const missing = '01890000-0000-7000-8000-000000000000';
    const paths = [foreign.id, missing, 'nonsense', missing.toUpperCase(), '%00', `${own.id}x`, '..%2f..'];
    const answers = [];
    for (const path of paths) answers.push(await api.call('GET', `/v1/tickets/${path}`));
    answers.push(await api.call('GET', `/v1/tickets/${foreign.id}`, { token: own.uploadToken }));
    for (const { status, body } of answers) {
      const { requestId, ...same } = body;
      expect(status).to.equal(404);
      expect(same).to.deep.equal({
        type: '/problems/ticket-not-found',
        title: 'There is no such ticket',
        status: 404,
        detail: 'There is no such ticket',
        code: 'ticket-not-found',
      });
    }
  });

  it('shows counts and images of one moment, however many changes come meanwhile', async () => {
    const ticket = await api.openTicket(60);
    let uploading = true;
    const uploads = Promise.all(
      Array.from({ length: 6 }, async (_, lane) => {
        for (let n = 0; n < 10; n++) await tusUpload(png({ bytes: 1500, seed: lane * 10 + n }), tusOptions(ticket));
      }),
    ).finally(() => {
      uploading = false;
    });
    let looks = 0;
    while (uploading) {
      const { counts, images } = await api.ticket(ticket.id);
      const count = (...statuses: string[]) => images.filter((image: Json) => statuses.includes(image.status)).length;
      expect({ ...counts, expected: 60 }).to.deep.equal({
        expected: 60,
        uploading: count('uploading'),
        received: count('received', 'transferring'),
        stored: count('stored'),
        failed: count('failed'),
      });
      looks += 1;
    }
    await uploads;
    expect(looks).to.be.above(5);
    await untilCompleted(api, ticket.id);
  });

  it('shows every live image, and the newest 100 that gave their place back', async () => {
    const ticket = await api.openTicket(3);
    await tusUpload(png({ bytes: 1500 }), tusOptions(ticket));
    await gateway.db.raw(
      `INSERT INTO images (id, ticket_id, status, staging, size)
       SELECT uuidv7(n * interval '1 second'), ?, 'cancelled', 'none', 10 FROM generate_series(1, 150) n`,
      [ticket.id],
    );
    const { images, counts } = await api.ticket(ticket.id);
    expect(images).to.have.length(101);
    expect(images[0].status).to.not.equal('cancelled');
    const ids = images.map(({ id }: Json) => id);
    expect(ids).to.deep.equal([...ids].sort());
    expect(counts.uploading + counts.received + counts.stored).to.equal(1);
  });

  it('cannot be changed or deleted: 405, and Allow says what can be done', async () => {
    const ticket = await api.openTicket(1);
    for (const method of ['PUT', 'PATCH', 'DELETE', 'POST', 'PROPFIND']) {
      const { status, body, headers } = await api.call(method, `/v1/tickets/${ticket.id}`);
      expect([status, body.code, headers.get('Allow')], method).to.deep.equal([405, 'method-not-allowed', 'GET, HEAD']);
    }
    expect((await api.ticket(ticket.id)).status).to.equal('pending');
  });
});

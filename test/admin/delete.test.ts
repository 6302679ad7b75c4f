import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { expect } from 'chai';
import { type Api, createApi, type Json, tusOptions, tusUpload, until, untilCompleted } from '../support/client.ts';
import { useGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';
import { type Admin, createAdmin } from './admin.ts';

describe('hopla admin tickets delete', () => {
  const { gateway } = useGateway();
  let admin: Admin;
  let api: Api;
  before(async () => {
    admin = createAdmin(gateway.config);
    api = createApi(gateway.url, (await gateway.createUser('owner')).token);
  });
  afterEach(() => gateway.cloudinary.faults.clear());

  const remove = (id: string, ...args: string[]) => admin(['tickets', 'delete', id, '--yes', '--json', ...args]);
  const photo = (seed: number) => jpeg({ bytes: 200_000, seed });
  const uploadTo = (ticket: Json, seed = 1) => tusUpload(photo(seed), tusOptions(ticket));

  /** Everything that a ticket can leave behind. */
  async function traces(id: string, imageIds: string[]) {
    const { db } = gateway;
    const records = await readdir(join(gateway.config.DATA_DIR, 'cloudinary', 'records'));
    const { rows: jobs } = await db.raw(`SELECT id FROM pgboss.job WHERE id = ANY (?) AND state < 'completed'`, [
      imageIds,
    ] as never);
    return {
      tickets: (await db('tickets').where({ id })).length,
      images: (await db('images').where({ ticket_id: id })).length,
      tokens: (await db('tokens').where({ ticket_id: id })).length,
      jobs: jobs.length,
      files: await gateway.stagedFiles(),
      assets: records.length,
    };
  }
  const none = { tickets: 0, images: 0, tokens: 0, jobs: 0, files: [], assets: 0 };

  async function imageIds(id: string): Promise<string[]> {
    return (await gateway.db('images').where({ ticket_id: id })).map((image: Json) => image.id);
  }

  async function completed(images: number): Promise<Json> {
    const ticket = await api.openTicket(images);
    for (let seed = 1; seed <= images; seed++) await uploadTo(ticket, seed);
    await untilCompleted(api, ticket.id);
    return ticket;
  }

  /** Begins a transfer that the storage has taken, but does not answer for a while. */
  async function transferring(images = 1): Promise<Json> {
    gateway.cloudinary.faults.add({ match: { operation: 'upload' }, fault: { kind: 'delay', ms: 1_500 } });
    const ticket = await api.openTicket(images);
    await uploadTo(ticket);
    const [id = ''] = await imageIds(ticket.id);
    await until('the storage has the image', () =>
      gateway.cloudinary.ledger.entries({ publicId: `hopla/${id}`, operation: 'upload' }).some(({ stored }) => stored),
    );
    return ticket;
  }

  it('deletes a completed ticket with its images in the storage, after a yes', async () => {
    const ticket = await completed(3);
    const ids = await imageIds(ticket.id);
    const question = ['tickets', 'delete', ticket.id, '--remote'];
    const declined = await admin(question, { columns: 80, input: ['n\n'] });
    expect(declined.code).to.equal(1);
    expect(declined.stderr).to.include('Its 3 stored images are removed from the storage; 0 others are lost.');
    expect((await traces(ticket.id, ids)).assets).to.equal(3);

    const deleted = await admin(question, { columns: 80, input: ['y\n'] });
    expect(deleted.code).to.equal(0);
    expect(deleted.stdout).to.equal(
      `deleted ticket ${ticket.id} with 3 images, 0 of them not stored; stored images are gone\n`,
    );
    expect(await traces(ticket.id, ids)).to.deep.equal(none);
    expect((await api.call('GET', `/v1/tickets/${ticket.id}`)).status).to.equal(404);
  });

  it('leaves stored images in the storage without --remote', async () => {
    const ticket = await completed(1);
    const [image] = (await api.ticket(ticket.id)).images;
    const { json } = await remove(ticket.id);
    expect(json).to.deep.equal({ id: ticket.id, images: 1, cancelled: 0, remote: false, otherStaging: [] });
    expect(await traces(ticket.id, [image.id])).to.deep.equal({ ...none, assets: 1 });
    expect((await fetch(image.url)).status).to.equal(200);
  });

  it('removes staged files and queued jobs of images that wait, and the gateway gives their room back', async () => {
    await gateway.restart({ STAGING_BUDGET_BYTES: `${1024 * 1024}`, MAX_IMAGE_BYTES: `${1024 * 1024}` });
    const away = { kind: 'status', status: 500 } as const;
    for (const operation of ['upload', 'ping'] as const)
      gateway.cloudinary.faults.add({ match: { operation }, fault: away });
    const ticket = await api.openTicket(5);
    const large = (seed: number) =>
      tusUpload(jpeg({ bytes: 500_000, seed }), { ...tusOptions(ticket), retryDelays: [] });
    await large(1);
    await large(2);
    const full = await large(3).catch((error) => error.originalResponse?.getStatus());
    expect(full).to.equal(507);
    const ids = await imageIds(ticket.id);
    expect(await gateway.stagedFiles()).to.have.members(ids);

    const { json } = await remove(ticket.id);
    expect(json).to.include({ images: 2, cancelled: 2 });
    expect(await traces(ticket.id, ids)).to.deep.include({ files: [], jobs: 0, images: 0, tickets: 0 });
    const next = await api.openTicket(1);
    await until('there is room again', () => uploadTo(next).catch(() => null));
    await remove(next.id);
    await gateway.restart({});
  });

  it('has the gateway remove staged files where the command cannot reach them', async () => {
    await gateway.restart({ TRANSFER_CONCURRENCY: '0' });
    const ticket = await api.openTicket(1);
    await uploadTo(ticket);
    const elsewhere = createAdmin({ ...gateway.config, STAGING_DIR: join(gateway.config.DATA_DIR, 'elsewhere') });
    const { json } = await elsewhere(['tickets', 'delete', ticket.id, '--yes', '--json']);
    expect(json.otherStaging).to.have.length(1);
    await until('the file is gone', async () => (await gateway.stagedFiles()).length === 0);
    await gateway.restart();
    const left = await readdir(gateway.config.STAGING_DIR);
    expect(left, 'not in quarantine either').to.not.include('.quarantine');
  });

  it('waits for a transfer under way, so that nothing is left in the storage', async () => {
    const before = (await traces('0197f0c6-0000-7000-8000-000000000000', [])).assets;
    const ticket = await transferring();
    const ids = await imageIds(ticket.id);
    const { code, json, stderr } = await remove(ticket.id, '--remote');
    expect(code).to.equal(0);
    expect(json).to.include({ images: 1, cancelled: 1, remote: true });
    expect(stderr).to.equal('waiting for 1 transfers that are under way\n');
    expect(await traces(ticket.id, ids)).to.deep.equal({ ...none, assets: before });
    const [first, ...rest] = gateway.cloudinary.ledger.entries({ publicId: `hopla/${ids[0]}` });
    expect(first?.operation).to.equal('upload');
    // Once by this command, and once more by the worker that finds its image deleted, whichever comes first.
    expect([...new Set(rest.map(({ operation }) => operation))]).to.deep.equal(['destroy']);
  });

  it('gives up waiting when asked to, closes the ticket, and finishes when repeated', async () => {
    const ticket = await transferring(2);
    const ids = await imageIds(ticket.id);
    const early = await remove(ticket.id, '--remote', '--wait', '0');
    expect(early.code).to.equal(1);
    expect(early.stderr).to.include(
      'error: service-unavailable: The ticket is closed, but 1 transfers are still under way',
    );
    expect(await api.ticket(ticket.id)).to.include({ status: 'expired' });
    const late = await remove(ticket.id, '--remote');
    expect(late.json).to.include({ images: 1, cancelled: 0, remote: true });
    expect(await traces(ticket.id, ids)).to.deep.include({ tickets: 0, images: 0, jobs: 0, files: [] });
  });

  it('changes nothing while the storage cannot be reached', async () => {
    const ticket = await completed(1);
    const before = await gateway.db('tickets').where({ id: ticket.id }).first();
    gateway.cloudinary.faults.add({ match: { operation: 'ping' }, fault: { kind: 'status', status: 503 } });
    const { code, stderr } = await remove(ticket.id, '--remote');
    expect(code).to.equal(1);
    expect(stderr).to.match(/^error: storage-unavailable: /);
    expect(await gateway.db('tickets').where({ id: ticket.id }).first()).to.deep.equal(before);
  });

  it('keeps every row when the storage fails half way, and gets through when repeated', async () => {
    const ticket = await completed(3);
    const ids = (await imageIds(ticket.id)).sort();
    gateway.cloudinary.faults.add({
      match: { operation: 'destroy', publicId: `hopla/${ids[1]}` },
      fault: { kind: 'status', status: 500 },
    });
    const failed = await remove(ticket.id, '--remote');
    expect(failed.code).to.equal(1);
    expect(failed.stderr).to.match(/^error: storage-unavailable: /);
    expect((await traces(ticket.id, ids)).images).to.equal(3);

    gateway.cloudinary.faults.clear();
    expect((await remove(ticket.id, '--remote')).code).to.equal(0);
    for (const id of ids) {
      const removals = gateway.cloudinary.ledger.entries({ publicId: `hopla/${id}`, operation: 'destroy' });
      expect(removals.some(({ answered }) => answered === 200)).to.equal(true);
    }
    expect(await traces(ticket.id, ids)).to.deep.include({ tickets: 0, images: 0 });
  });

  it('removes what a transfer without a receipt left in the storage', async () => {
    await gateway.restart({ TRANSFER_ATTEMPTS: '1' });
    gateway.cloudinary.faults.add({ match: { operation: 'upload' }, fault: { kind: 'wrong-etag' } });
    const ticket = await api.openTicket(1);
    await uploadTo(ticket);
    await until('the transfer failed', async () => (await api.ticket(ticket.id)).counts.failed === 1);
    const [id] = await imageIds(ticket.id);
    expect((await remove(ticket.id, '--remote')).code).to.equal(0);
    const [removal] = gateway.cloudinary.ledger.entries({ publicId: `hopla/${id}`, operation: 'destroy' });
    expect(removal).to.include({ answered: 200 });
    expect(await gateway.stagedFiles()).to.deep.equal([]);
    await gateway.restart({});
  });

  it('ends an upload under way: its client hears that it is gone, and leaves no file', async () => {
    const ticket = await api.openTicket(1);
    const bytes = photo(5);
    const { headers } = await api.call('POST', `/v1/tickets/${ticket.id}/uploads`, {
      headers: { 'Tus-Resumable': '1.0.0', 'Upload-Length': `${bytes.length}` },
    });
    const location = headers.get('Location') ?? '';
    const patch = request(location, {
      method: 'PATCH',
      headers: {
        Authorization: `Bearer ${api.token}`,
        'Tus-Resumable': '1.0.0',
        'Upload-Offset': '0',
        'Content-Type': 'application/offset+octet-stream',
        'Content-Length': bytes.length,
      },
    });
    const answered = once(patch, 'response');
    patch.write(bytes.subarray(0, 100_000));
    await until('the first half is here', async () => (await gateway.stagedFiles()).length === 1);

    expect((await remove(ticket.id)).json).to.include({ images: 1, cancelled: 1 });
    patch.end(bytes.subarray(100_000));
    const [response] = await answered;
    response.resume();
    expect(response.statusCode).to.be.oneOf([404, 410]);
    const head = await api.call('HEAD', location, { headers: { 'Tus-Resumable': '1.0.0' } });
    expect(head.status).to.equal(404);
    const post = { 'Tus-Resumable': '1.0.0', 'Upload-Length': '10' };
    expect((await api.call('POST', `/v1/tickets/${ticket.id}/uploads`, { headers: post })).status).to.equal(404);
    expect(await gateway.stagedFiles()).to.deep.equal([]);
  });

  it('ends the event stream of whoever watches', async () => {
    const ticket = await api.openTicket(2);
    await uploadTo(ticket);
    const stream = await fetch(`${gateway.url}/v1/tickets/${ticket.id}/events`, {
      headers: { Authorization: `Bearer ${api.token}` },
      signal: AbortSignal.timeout(20_000),
    });
    const said = stream.text();
    await remove(ticket.id, '--remote');
    expect(await said).to.match(/event: end/);
  });

  it('loses to nobody when two delete the same ticket', async () => {
    const ticket = await completed(2);
    const ids = await imageIds(ticket.id);
    const outcomes = await Promise.all([remove(ticket.id, '--remote'), remove(ticket.id, '--remote')]);
    expect(outcomes.some(({ code }) => code === 0)).to.equal(true);
    for (const { code, stderr } of outcomes) if (code !== 0) expect(stderr).to.include('ticket-not-found');
    expect(await traces(ticket.id, ids)).to.deep.include({ tickets: 0, images: 0, jobs: 0, files: [] });
  });
});

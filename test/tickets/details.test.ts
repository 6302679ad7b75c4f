import { expect } from 'chai';
import { connectDatabase } from '../../src/database/connection.ts';
import { Ticket } from '../../src/database/models.ts';
import { createDetails } from '../../src/tickets/details.ts';
import { createApi, type Json, until } from '../support/client.ts';
import { useGateway } from '../support/gateway.ts';
import { png } from '../support/images.ts';

const IMAGES = 200;

describe('details that many read', () => {
  const { gateway, api } = useGateway();

  /** A ticket whose uploads were all begun, one of them with a name that looks like the field that changes. */
  const openUnfinished = async (): Promise<Json> => {
    const ticket = await api.openTicket(IMAGES);
    for (let n = 0; n < IMAGES; n++) {
      const filename = Buffer.from(n === 7 ? 'a","offset":5,"b' : `photo ${n}`).toString('base64');
      const headers = { 'Tus-Resumable': '1.0.0', 'Upload-Length': '1000', 'Upload-Metadata': `filename ${filename}` };
      expect((await api.call('POST', ticket.uploadUrl, { headers })).status).to.equal(201);
    }
    return ticket;
  };
  /** The details of a gateway's database, and what they ask of it. */
  const openDetails = () => {
    const db = connectDatabase(gateway.config.DATABASE_URL);
    const asked = { queries: 0, offsets: 0 };
    const offsets = new Map<string, number>();
    db.on('query', () => {
      asked.queries += 1;
    });
    const details = createDetails(db, ({ id }) => {
      asked.offsets += 1;
      return offsets.get(id) ?? 0;
    });
    return { details, asked, offsets, [Symbol.asyncDispose]: () => db.destroy() };
  };
  const versionOf = async (id: string) => (await Ticket.query(gateway.db).findById(id).throwIfNotFound()).version;

  it('are read and written once for a version, however many ask at once', async () => {
    const ticket = await openUnfinished();
    await using opened = openDetails();
    const { details, asked, offsets } = opened;
    const version = await versionOf(ticket.id);
    const read = async (wanted: number) => (await details.read(ticket.id, wanted))?.write('http://a');
    const crowd = await Promise.all(Array.from({ length: 64 }, () => read(version)));
    for (let n = 0; n < 64; n++) crowd.push(await read(version));
    expect(asked.queries).to.equal(1);
    expect(new Set(crowd).size, 'the same text').to.equal(1);
    const [first] = crowd;
    const shown = JSON.parse(`${first?.json}`);
    expect(shown).to.deep.equal({
      ...JSON.parse(JSON.stringify(await api.ticket(ticket.id)).replaceAll(gateway.url, 'http://a')),
    });
    expect(shown.images[7].filename).to.equal('a","offset":5,"b');

    // An offset that moves is another text, and no reading.
    offsets.set(shown.images[7].id, 123);
    const moved = await read(version);
    expect(moved?.tag).to.not.equal(first?.tag);
    expect(JSON.parse(`${moved?.json}`).images.map(({ offset }: Json) => offset)).to.deep.equal(
      Array.from({ length: IMAGES }, (_, n) => (n === 7 ? 123 : 0)),
    );
    expect(asked.queries).to.equal(1);
    const elsewhere = await (await details.read(ticket.id, version))?.write('http://b');
    expect(JSON.parse(`${elsewhere?.json}`).uploadUrl).to.equal(`http://b/v1/tickets/${ticket.id}/uploads`);

    // A change is a version, and read by the first that knows of it.
    const cancelled = await api.call('DELETE', `/v1/tickets/${ticket.id}/uploads/${shown.images[0].id}`, {
      headers: { 'Tus-Resumable': '1.0.0' },
    });
    expect(cancelled.status).to.equal(204);
    const newer = await Promise.all(Array.from({ length: 64 }, () => read(version + 1)));
    expect(asked.queries).to.equal(2);
    expect(JSON.parse(`${newer[0]?.json}`).counts.uploading).to.equal(IMAGES - 1);
  });

  it('show offsets as the write path knows them, back and forth', async () => {
    const photo = png({ bytes: 1000 });
    const ticket = await api.openTicket(1);
    const headers = { 'Tus-Resumable': '1.0.0', 'Upload-Length': '1000' };
    const created = await api.call('POST', ticket.uploadUrl, { headers });
    const location = created.headers.get('Location') ?? '';
    const append = async (at: number, bytes: number) =>
      api.call('PATCH', location, {
        headers: { ...headers, 'Content-Type': 'application/offset+octet-stream', 'Upload-Offset': `${at}` },
        body: photo.subarray(at, at + bytes),
      });
    const offset = async () => (await api.ticket(ticket.id)).images[0].offset;
    expect(await offset()).to.equal(0);
    for (const at of [0, 300]) {
      expect((await append(at, 300)).status).to.equal(204);
      expect(await offset()).to.equal(at + 300);
    }
    await gateway.restart();
    expect(await offset(), 'from the disk, by a process that did not write it').to.equal(600);
    expect((await append(600, 100)).status).to.equal(204);
    expect(await offset()).to.equal(700);
  });

  it('are for few requests of a token at once; a few more wait, and the rest get 429', async () => {
    const ticket = await api.openTicket(1);
    const other = createApi(gateway.url, (await gateway.createUser()).token);
    const foreign = await other.openTicket(1);
    const lock = await gateway.db.transaction();
    const [read, list] = [`/v1/tickets/${ticket.id}`, '/v1/tickets'];
    await lock.raw('LOCK TABLE tickets IN ACCESS EXCLUSIVE MODE');
    const answers = Array.from({ length: 110 }, (_, n) => api.call('GET', n % 2 ? read : list));
    const refused = new Set<number>();
    for (const [n, answer] of answers.entries()) void answer.then(({ status }) => status === 429 && refused.add(n));
    const waitingOthers = other.call('GET', `/v1/tickets/${foreign.id}`);
    await until('those without room are refused', () => refused.size > 0);
    const { rows } = await gateway.db.raw(
      `SELECT count(*)::int AS count FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    );
    expect(rows[0].count, 'statements that wait: two of the token, one of the other').to.be.at.most(3);
    await lock.rollback();
    expect((await waitingOthers).status).to.equal(200);
    const all = await Promise.all(answers);
    const statuses = Map.groupBy(all, ({ status }) => status);
    expect([...statuses.keys()].sort()).to.deep.equal([200, 429]);
    expect(statuses.get(429)).to.have.length(110 - 102);
    for (const { body, headers } of statuses.get(429) ?? []) {
      expect(body.code).to.equal('too-many-requests');
      expect(headers.get('Retry-After')).to.equal('1');
    }
    expect((await api.call('GET', read)).status, 'again').to.equal(200);
  });
});

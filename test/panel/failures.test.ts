import { expect } from 'chai';
import { type Api, createApi, tusOptions, tusUpload, until, untilCompleted } from '../support/client.ts';
import { startTestGateway, type TestGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';
import { createLogBook } from '../transfers/rig.ts';
import { type Clerk, hireAdmin } from './clerk.ts';

describe('the overview of the admin panel, when the storage refuses images', () => {
  let gateway: TestGateway;
  let api: Api;
  let clerk: Clerk;
  const book = createLogBook();
  const ticketIds: string[] = [];
  /** The overview is made anew after a few seconds. */
  const overview = (what: string, as: (page: string) => boolean) =>
    until(what, async () => {
      const { text } = await clerk.get('/admin');
      return as(text) ? text : null;
    });

  before(async () => {
    gateway = await startTestGateway({}, book.log);
    api = createApi(gateway.url, (await gateway.createUser()).token);
    clerk = await hireAdmin(gateway, 'root');
    await overview('a quiet place', (page) => page.includes('All is well.'));
    gateway.cloudinary.faults.add({ fault: { kind: 'media-limits', image_max_size_bytes: 1_000_000 } });
    for (const [name, bytes] of [
      ['bride.jpg', 1_200_000],
      ['groom.jpg', 1_100_000],
    ] as const) {
      const ticket = await api.openTicket(1);
      ticketIds.push(ticket.id);
      await tusUpload(jpeg({ bytes, seed: bytes }), { ...tusOptions(ticket), metadata: { filename: name } });
      await until('it is refused', async () => (await api.ticket(ticket.id)).counts.failed === 1);
    }
  });
  after(() => gateway.close());

  it('is red, and says which, why and what to do', async () => {
    const page = await overview('the news', (text) => text.includes('2 images'));
    expect(page).to.contain('class="verdict bad"').and.not.contain('All is well');
    for (const word of ['bride.jpg', 'groom.jpg', 'storage-refused', 'Upgrade your plan', 'then retry'])
      expect(page, word).to.contain(word);
  });

  it('is not alone with it: the log has an alarm for each, and the metrics count them by code', async () => {
    const alarms = book.lines.filter(({ msg }) => /^ALARM: the storage refuses this image/.test(msg));
    expect(alarms.map(({ level, code }) => [level, code])).to.deep.equal([
      [50, 'storage-refused'],
      [50, 'storage-refused'],
    ]);
    const counted = async () => {
      const text = await (await fetch(`${gateway.url}/metrics`)).text();
      return text.includes('hopla_images_failed{code="storage-refused"} 2');
    };
    await until('the metrics', counted);
  });

  it('sends all of them again by one button, also when some are refused once more', async () => {
    gateway.cloudinary.faults.clear();
    gateway.cloudinary.faults.add({ fault: { kind: 'media-limits', image_max_size_bytes: 1_150_000 } });
    await gateway.restart();
    expect((await clerk.send('/admin/images/retry-all', {})).location).to.equal('/admin');
    expect((await clerk.get('/admin')).text).to.contain('2 images on the way to the storage again.');
    const [bride = '', groom = ''] = ticketIds;
    await untilCompleted(api, groom);
    await until('the other is refused again', async () => (await api.ticket(bride)).counts.failed === 1);
    gateway.cloudinary.faults.clear();
    await clerk.send('/admin/images/retry-all', {});
    await untilCompleted(api, bride);
    expect(await gateway.stagedFiles()).to.deep.equal([]);
    await overview('a quiet place again', (page) => page.includes('All is well.'));
  });
});

import { watch } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { expect } from 'chai';
import { type Json, tusOptions, tusUpload, until, untilCompleted } from '../support/client.ts';
import { useGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';
import { answerTo, createEndpoint, expectProblem, OFFSET_STREAM, openRequest } from './raw.ts';

const LARGE = 50 * 1024 * 1024;
const LITTLE = 256 * 1024;

describe('a creation that its ticket refuses', () => {
  const { gateway, api } = useGateway();

  /** Files that appear in staging while `run` runs. */
  const filesMadeBy = async (run: () => Promise<void>): Promise<string[]> => {
    await until('staging is empty', async () => (await gateway.stagedFiles()).length === 0);
    const { STAGING_DIR: directory } = gateway.config;
    const names = new Set<string>();
    const watcher = watch(directory, (_event, name) => void (name && names.add(name)));
    await run();
    // Events come in their order: the marker's after those of everything before it.
    await writeFile(`${directory}/marker`, '');
    await until('everything before the marker was noticed', () => names.has('marker'));
    watcher.close();
    await rm(`${directory}/marker`);
    return [...names].filter((name) => name !== 'marker');
  };
  /** Begins to send a large image, and resolves to the answer, which comes while nearly all of the image is still to be sent. */
  const sendLarge = (ticket: Json, headers = {}) => {
    const request = openRequest('POST', ticket.uploadUrl, {
      token: ticket.uploadToken,
      headers: { 'Content-Type': OFFSET_STREAM, 'Content-Length': `${LARGE}`, 'Upload-Length': `${LARGE}`, ...headers },
    });
    const answer = answerTo(request);
    request.write(jpeg({ bytes: LITTLE }));
    return answer.finally(() => request.destroy());
  };
  const expectRefused = async (ticket: Json, status: number, code: string) => {
    const files = await filesMadeBy(async () => {
      for (const answer of await Promise.all([1, 2, 3, 4].map(() => sendLarge(ticket))))
        expectProblem(answer, status, code);
    });
    expect(files).to.deep.equal([]);
  };

  it('is refused before a byte of its body is written, when the ticket is full', async () => {
    const ticket = await api.openTicket(1);
    await createEndpoint(ticket).begin({ size: 100 });
    await expectRefused(ticket, 422, 'ticket-full');
  });

  it('is also, when its body comes with a checksum or is expected to be asked for', async () => {
    const ticket = await api.openTicket(1);
    await createEndpoint(ticket).begin({ size: 100 });
    const files = await filesMadeBy(async () => {
      for (const headers of [{ 'Upload-Checksum': 'crc32 AAAAAA==' }, { Expect: '100-continue' }])
        expectProblem(await sendLarge(ticket, headers), 422, 'ticket-full');
    });
    expect(files).to.deep.equal([]);
  });

  it('is, when the last place was taken a moment ago by an image that came whole', async () => {
    const ticket = await api.openTicket(1);
    const photo = jpeg({ bytes: 10_000 });
    await createEndpoint(ticket).begin({ size: photo.length, body: photo });
    await untilCompleted(api, ticket.id);
    await expectRefused(ticket, 422, 'ticket-full');
  });

  it('is, when the ticket is completed', async () => {
    const ticket = await api.openTicket(1);
    await tusUpload(jpeg({ bytes: 10_000 }), tusOptions(ticket));
    await untilCompleted(api, ticket.id);
    await expectRefused(ticket, 422, 'ticket-full');
  });

  it('is, when the ticket has expired', async () => {
    const ticket = await api.openTicket(1);
    await gateway.db('tickets').where({ id: ticket.id }).update({ expires_at: gateway.db.fn.now() });
    await expectRefused(ticket, 410, 'ticket-expired');
  });

  it('is one that lost a place to another: when many race, at most as many as there are places write in vain', async () => {
    const ticket = await api.openTicket(2);
    const photo = jpeg({ bytes: 1_000_000 });
    const files = await filesMadeBy(async () => {
      const endpoint = createEndpoint(ticket);
      const answers = await Promise.all(
        Array.from({ length: 8 }, () => endpoint.create({ size: photo.length, body: photo })),
      );
      expect(answers.map(({ status }) => status).sort()).to.deep.equal([201, 201, 422, 422, 422, 422, 422, 422]);
    });
    expect(files.length).to.be.within(2, 4);
  });
});

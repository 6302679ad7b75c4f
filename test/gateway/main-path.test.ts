import { expect } from 'chai';
import { createApi, type Json, tusOptions, tusUpload, untilCompleted } from '../support/client.ts';
import { sha256Of } from '../support/digest.ts';
import { useGateway } from '../support/gateway.ts';
import { jpeg, png, webp } from '../support/images.ts';

describe('the way of a photo', () => {
  const { gateway } = useGateway();

  it('brings three photos of a ticket to the storage byte for byte and keeps none', async () => {
    const api = createApi(gateway.url, (await gateway.createUser()).token);
    const ticket = await api.openTicket(3);
    expect(ticket.status).to.equal('pending');
    const photos = [
      jpeg({ bytes: 300_000, seed: 1 }),
      png({ bytes: 1_500_000, seed: 2 }),
      webp({ bytes: 4_000, seed: 3 }),
    ];
    for (const photo of photos) await tusUpload(photo, { ...tusOptions(ticket), chunkSize: 256 * 1024 });

    const completed = await untilCompleted(api, ticket.id);
    expect(completed.counts).to.deep.equal({ expected: 3, uploading: 0, received: 0, stored: 3, failed: 0 });
    expect(completed.images.map((image: Json) => image.sha256)).to.deep.equal(photos.map(sha256Of));
    for (const [index, image] of completed.images.entries()) {
      const stored = Buffer.from(await (await fetch(image.url)).arrayBuffer());
      expect(stored.equals(photos[index] as Buffer), `image ${index} is stored byte for byte`).to.equal(true);
    }
    expect(await gateway.stagedFiles()).to.deep.equal([]);
  });
});

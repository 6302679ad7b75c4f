import { expect } from 'chai';
import { secret, startScriptedServer } from '../storage/scripted-server.ts';
import { type Json, tusOptions, tusUpload, until, untilCompleted } from '../support/client.ts';
import { useGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';

const asset = { public_id: 'hopla/1', bytes: 10, etag: 'e', secure_url: 'https://example.com/1' };
const answers: Record<string, unknown> = {
  'an absurd number': { ...asset, bytes: 1e300 },
  'a NUL': { ...asset, secure_url: 'https://example.com/\0' },
  'half of a surrogate pair': { ...asset, public_id: '\ud800' },
  'an endless address': { ...asset, secure_url: `https://example.com/${'a'.repeat(100_000)}` },
  'a NUL in another md5': { ...asset, etag: '\0' },
};

describe('a storage that answers with what nobody can store', () => {
  const { gateway, api } = useGateway();
  /** Tries of each image, by the key that the store is asked to give; the order is that of `answers`. */
  const tries = new Map<string, number>();
  let ticket: Json;
  let server: Awaited<ReturnType<typeof startScriptedServer>>;
  before('the store answers two tries of every image', async () => {
    server = await startScriptedServer(async ({ req, res }) => {
      const sent = Buffer.concat(await req.toArray()).toString('latin1');
      const [, key] = /name="public_id"\r\n\r\n(\S+)/.exec(sent) ?? [];
      if (key === undefined) {
        res.end(JSON.stringify({ status: 'ok' }));
        return;
      }
      tries.set(key, (tries.get(key) ?? 0) + 1);
      res.end(JSON.stringify(Object.values(answers)[[...tries.keys()].indexOf(key)]));
    });
    await gateway.restart({ STORAGE_URL: server.cloudinaryUrl });
    ticket = await api.openTicket(Object.keys(answers).length);
    for (const [index, what] of Object.keys(answers).entries()) {
      await tusUpload(jpeg({ bytes: 20_000, seed: index }), { ...tusOptions(ticket), metadata: { filename: what } });
      await until(`a first try of image ${index}`, () => tries.size === index + 1);
    }
    await until('two tries of each image', async () =>
      (await imagesOf(ticket)).every(({ attempts }: Json) => attempts >= 2),
    );
  });
  after(() => server?.close());

  const imagesOf = async ({ id }: Json): Promise<Json[]> => (await api.ticket(id)).images;

  for (const what of Object.keys(answers))
    it(`is an error with a code, tried again later and later, and the image stays (${what})`, async () => {
      const image = (await imagesOf(ticket)).find(({ filename }) => filename === what);
      expect(image.error).to.deep.equal({
        code: 'storage-unavailable',
        message: 'The storage cannot be reached or fails',
      });
      expect(tries.get(`hopla/${image.id}`), 'a try sends the image once').to.be.within(
        image.attempts,
        image.attempts + 1,
      );
      expect(JSON.stringify(image)).not.to.contain(secret);
    });

  it('has all images as soon as its answers are of use again', async () => {
    await gateway.restart({ STORAGE_URL: gateway.cloudinary.cloudinaryUrl });
    const { images } = await untilCompleted(api, ticket.id);
    expect(images.map(({ error }: Json) => error)).to.deep.equal(Object.keys(answers).map(() => null));
  });
});

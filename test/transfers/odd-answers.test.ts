import { expect } from 'chai';
import { answer, secret, startScriptedServer } from '../storage/scripted-server.ts';
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

  for (const [what, body] of Object.entries(answers)) {
    it(`is an error with a code, tried again later and later, and the image stays (${what})`, async () => {
      let uploads = 0;
      await using server = {
        ...(await startScriptedServer((exchange) => {
          if (exchange.req.method === 'GET') return answer(exchange, 200, { status: 'ok' });
          uploads += 1;
          return answer(exchange, 200, body);
        })),
        async [Symbol.asyncDispose]() {
          await this.close();
        },
      };
      await gateway.restart({ STORAGE_URL: server.cloudinaryUrl });
      const ticket = await api.openTicket(1);
      await tusUpload(jpeg({ bytes: 20_000, seed: what.length }), tusOptions(ticket));
      const tried = await until('two tries', async () => {
        const [image] = (await api.ticket(ticket.id)).images as Json[];
        return image.attempts === 2 ? image : null;
      });
      expect(tried.error).to.deep.equal({
        code: 'storage-unavailable',
        message: 'The storage cannot be reached or fails',
      });
      expect(uploads).to.equal(2);
      expect(JSON.stringify(tried)).not.to.contain(secret);

      await gateway.restart({ STORAGE_URL: gateway.cloudinary.cloudinaryUrl });
      expect((await untilCompleted(api, ticket.id)).images[0].error).to.equal(null);
    });
  }
});

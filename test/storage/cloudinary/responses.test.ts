import { inspect } from 'node:util';
import { expect } from 'chai';
import { HoplaError } from '../../../src/model/errors.ts';
import { createCloudinaryStorage } from '../../../src/storage/cloudinary/store.ts';
import type { StagedImage } from '../../../src/storage/port.ts';
import { nothingLeft, watchLeftovers } from '../leftovers.ts';
import { answer, type Exchange, secret, startScriptedServer } from '../scripted-server.ts';
import { assetOf, createStaging, gif } from '../staged.ts';

const noAbort = new AbortController().signal;
const failure = (message: string) => ({ error: { message } });
const NOON = Date.parse('2026-01-01T12:00:00Z');
const at = (ms: number) => new Date(ms).toUTCString();

describe('what Cloudinary answers', () => {
  const releases: (() => unknown)[] = [];
  let staging: Awaited<ReturnType<typeof createStaging>>;
  let leftovers: ReturnType<typeof watchLeftovers>;

  beforeEach(async () => {
    staging = await createStaging();
    releases.push(staging.remove);
    leftovers = watchLeftovers();
    releases.push(leftovers.stop);
  });
  afterEach(async () => {
    for (const release of releases.splice(0).reverse()) await release();
  });

  async function start(
    script: (exchange: Exchange) => unknown,
    changes: { idleTimeoutMs?: number; now?: () => number } = {},
  ) {
    const server = await startScriptedServer(script);
    releases.push(server.close);
    const limits = { maxSockets: 4, minBytesPerSecond: 1e8, answerTimeoutMs: 500, idleTimeoutMs: 400 };
    const storage = createCloudinaryStorage({
      cloudinaryUrl: server.cloudinaryUrl,
      folder: 'photos',
      ...limits,
      ...changes,
    });
    releases.push(storage.close);
    return { server, storage };
  }

  /** Puts an image and gives back the error, after making sure that nothing of the try is left and no secret is in it. */
  async function failedPut(script: (exchange: Exchange) => unknown, bytes?: Buffer): Promise<HoplaError> {
    const { storage } = await start(script, { now: () => NOON });
    const image = await staging.stage(bytes);
    const error = await storage
      .prepare(image)({ signal: noAbort })
      .then(
        () => expect.fail('the image was taken'),
        (reason: unknown) => reason,
      );
    expect(await leftovers.settled(image.path)).to.deep.equal(nothingLeft);
    if (!(error instanceof HoplaError)) throw error;
    expect(inspect(error, { depth: 10, showHidden: true })).not.to.contain(secret);
    return error;
  }

  const refusals: [number, unknown, string][] = [
    [400, failure('Invalid image file'), 'storage-refused'],
    [400, failure('Empty file'), 'storage-refused'],
    [400, failure('Unsupported ZIP file'), 'storage-refused'],
    [400, failure('Image file format xyz not allowed'), 'storage-refused'],
    [400, failure('File size too large. Got 12000000. Maximum is 10485760.'), 'storage-refused'],
    [400, failure('Maximum image size is 25 Megapixels. Requested 45.00 Megapixels'), 'storage-refused'],
    [413, '<html>413 Request Entity Too Large</html>', 'storage-refused'],
    [401, failure('Invalid Signature 12ab. String to sign - ...'), 'storage-misconfigured'],
    [401, '<html>401</html>', 'storage-misconfigured'],
    [403, failure('Account is disabled'), 'storage-misconfigured'],
    [404, failure('Unknown cloud'), 'storage-misconfigured'],
    [400, failure('Missing required parameter - file'), 'storage-unavailable'],
    [400, failure('Invalid upload preset'), 'storage-unavailable'],
    [400, '<html>400 Invalid file</html>', 'storage-unavailable'],
    [400, { error: 'Invalid image file' }, 'storage-unavailable'],
    [408, failure('Timeout'), 'storage-unavailable'],
    [409, failure('Resource is being processed'), 'storage-unavailable'],
    [420, failure('Rate Limit Exceeded'), 'storage-unavailable'],
    [429, '', 'storage-unavailable'],
    [500, failure('Internal'), 'storage-unavailable'],
    [502, '<html>502</html>', 'storage-unavailable'],
    [503, '', 'storage-unavailable'],
    [302, '', 'storage-unavailable'],
    [204, '', 'storage-unavailable'],
  ];
  for (const [status, body, code] of refusals) {
    it(`takes ${status} ${JSON.stringify(body)} as ${code}`, async () => {
      const error = await failedPut((exchange) => answer(exchange, status, body));
      expect(error.code).to.equal(code);
      expect(error.message).to.contain(`${status}`);
    });
  }

  it('keeps the connection whatever the status', async () => {
    await failedPut((exchange) => answer(exchange, 503, 'a body that the SDK would not read'));
    expect(leftovers.kept()).to.equal(1);
  });

  const asset = { public_id: 'photos/1', bytes: 1, etag: 'e', secure_url: 'https://example.com/1' };
  const oddAnswers: [string, unknown][] = [
    ['no JSON', '<html>welcome</html>'],
    ['nothing', ''],
    ['null', 'null'],
    ['a number', '1'],
    ['half of a JSON text', '{"public_id":"photos/'],
    ['no bytes and no etag', { public_id: 'photos/1', secure_url: 'https://example.com/1' }],
    ['a script for an address', { public_id: 'p', bytes: 1, etag: 'e', secure_url: 'javascript:alert(1)' }],
    ['an error beside 200', failure('no')],
    ['an absurd size', { ...asset, bytes: 1e300 }],
    ['a size below nothing', { ...asset, bytes: -1 }],
    ['a NUL in its key', { ...asset, public_id: 'photos/\0' }],
    ['half of a surrogate pair in its key', { ...asset, public_id: 'photos/\ud800' }],
    ['a key without end', { ...asset, public_id: 'p'.repeat(2_000) }],
    ['a NUL in its etag', { ...asset, etag: 'a\0' }],
    ['an address with a NUL', { ...asset, secure_url: 'https://example.com/\0' }],
    ['an address without end', { ...asset, secure_url: `https://example.com/${'a'.repeat(3_000)}` }],
    [
      'an address that is too long once it is encoded',
      { ...asset, secure_url: `https://example.com/${'é'.repeat(600)}` },
    ],
    ['an address with a password', { ...asset, secure_url: 'https://me:secret@example.com/1' }],
    // Each of these makes the SDK's own reader throw from an event listener, which ends the process.
    ['breakpoints that are no list', { responsive_breakpoints: 5 }],
    ['breakpoints without sizes', { responsive_breakpoints: [{ breakpoints: [] }] }],
    ['an error that is a list', { error: [] }],
  ];
  for (const [what, body] of oddAnswers) {
    it(`takes 200 with ${what} as storage-unavailable`, async () => {
      const error = await failedPut((exchange) => answer(exchange, 200, body));
      expect(error.code).to.equal('storage-unavailable');
    });
  }

  const brokenAnswers: [string, (exchange: Exchange) => unknown][] = [
    [
      'breaks off',
      async ({ req, res }) => {
        await req.resume().toArray();
        res.writeHead(200, { 'Content-Length': 1000 }).write('{"public_id":');
        setImmediate(() => res.destroy());
      },
    ],
    [
      'breaks off between chunks',
      async ({ req, res }) => {
        await req.resume().toArray();
        res.writeHead(200).write('{}');
        setImmediate(() => res.destroy());
      },
    ],
    [
      'stops in the middle',
      async ({ req, res }) => {
        await req.resume().toArray();
        res.writeHead(200).write('{');
      },
    ],
    ['is no HTTP', ({ req }) => req.socket.end('SSH-2.0-OpenSSH\r\n\r\n')],
    [
      'switches protocols',
      ({ req }) => req.socket.write('HTTP/1.1 101 Go on\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n'),
    ],
    ['comes twice', ({ req }) => req.socket.end('HTTP/1.1 500 A\r\nContent-Length: 0\r\n\r\n'.repeat(2))],
    ['closes the connection instead', ({ req }) => req.socket.end()],
    ['resets the connection instead', ({ req }) => req.socket.resetAndDestroy()],
    ['comes with headers only', ({ res }) => res.writeHead(500).flushHeaders()],
  ];
  for (const [what, script] of brokenAnswers) {
    it(`takes an answer that ${what} as storage-unavailable`, async () => {
      const error = await failedPut(script);
      expect(error.code).to.equal('storage-unavailable');
      // Each is noticed for what it is, before the deadline.
      expect(error.message).not.to.contain('no answer within');
    });
  }

  it('stops reading an answer that never ends', async () => {
    const error = await failedPut(async ({ req, res }) => {
      await req.resume().toArray();
      const more = () => res.destroyed || res.write(' '.repeat(65_536), more);
      more();
    });
    expect(error.code).to.equal('storage-unavailable');
    expect(error.message).to.contain('longer than');
  });

  it('stops sending an image that the store says it has', async () => {
    const image = await staging.stage(gif(20_000_000));
    const { storage } = await start(({ res }) => res.end(JSON.stringify({ ...assetOf(image), existing: true })));
    let sent = 0;
    const receipt = await storage.prepare(image)({ signal: noAbort, onProgress: (bytes) => (sent = bytes) });
    expect(receipt.md5).to.equal(image.md5);
    expect(sent).to.be.lessThan(image.bytes);
    expect(await leftovers.settled(image.path)).to.deep.equal(nothingLeft);
  });

  it('takes no asset of another image for its own, though the bytes are the same', async () => {
    const image = await staging.stage(gif(2_000));
    const answerWith = async (public_id: string) => {
      const { storage } = await start((exchange) => answer(exchange, 200, { ...assetOf(image), public_id }));
      return storage.prepare(image)({ signal: noAbort });
    };
    const error: HoplaError = await answerWith('photos/another').catch((reason) => reason);
    expect(error.code).to.equal('storage-mismatch');
    expect((await answerWith(`preset/photos/${image.id}`)).key).to.equal(`preset/photos/${image.id}`);
  });

  it('speaks TLS where the URL says https', async () => {
    const { server } = await start(() => {});
    const cloudinaryUrl = server.cloudinaryUrl.replace('http%3A', 'https%3A');
    const limits = { maxSockets: 1, minBytesPerSecond: 1e8, answerTimeoutMs: 500, idleTimeoutMs: 400 };
    const storage = createCloudinaryStorage({ cloudinaryUrl, folder: '', ...limits });
    releases.push(storage.close);
    const error: HoplaError = await storage.check(noAbort).catch((reason) => reason);
    expect(error.code).to.equal('storage-unavailable');
    expect(error.message).to.match(/SSL|TLS|EPROTO/i);
  });

  it('learns from an answer that comes before the body was read', async () => {
    const error = await failedPut(({ res }) => res.writeHead(413).end(), Buffer.alloc(20_000_000));
    expect(error.code).to.equal('storage-refused');
    expect(leftovers.kept()).to.equal(0);
  });

  it('hands on how long to wait', async () => {
    const waits = async (status: number, headers: Record<string, string>) =>
      (await failedPut((exchange) => answer(exchange, status, '', headers))).retryAfterMs;
    expect(await waits(503, { 'Retry-After': '7' })).to.equal(7000);
    expect(await waits(429, { 'Retry-After': '0' })).to.equal(0);
    // By the server's clock, which is an hour ahead of ours.
    expect(await waits(429, { 'Retry-After': at(NOON + 3_605_000), Date: at(NOON + 3_600_000) })).to.equal(5000);
    expect(await waits(420, { 'X-FeatureRateLimit-Reset': at(NOON + 60_000), Date: at(NOON) })).to.equal(60_000);
    expect(await waits(503, { 'Retry-After': at(NOON - 60_000), Date: at(NOON) })).to.equal(0);
    expect(await waits(503, { 'Retry-After': '99999999999' })).to.equal(86_400_000);
    expect(await waits(503, { 'Retry-After': 'soon' })).to.equal(undefined);
    expect(await waits(503, {})).to.equal(undefined);
  });

  const odd = { width: 'wide', height: -0.5, format: 7, version: {}, asset_id: [], existing: 'perhaps' };
  const absurd = { width: 1e300, height: 2 ** 31, format: 'a\0', version: 1e30, asset_id: '\ud800'.repeat(9) };
  for (const [what, fields] of Object.entries({ odd, absurd })) {
    it(`takes what is only shown as missing when it is ${what}`, async () => {
      const image = await staging.stage();
      const etag = image.md5.toUpperCase();
      const { storage } = await start((exchange) => answer(exchange, 200, { ...assetOf(image), ...fields, etag }));
      const receipt = await storage.prepare(image)({ signal: noAbort });
      const { width, height, format, version, assetId, md5 } = receipt;
      const nothing = { width: null, height: null, format: null, version: null, assetId: null };
      expect({ width, height, format, version, assetId }).to.deep.equal(nothing);
      expect(md5).to.equal(image.md5);
    });
  }

  it('hands on an address as every browser writes it', async () => {
    const image = await staging.stage();
    const secure_url = 'HTTPS://Example.com:443/a b/../é.jpg';
    const { storage } = await start((exchange) => answer(exchange, 200, { ...assetOf(image), secure_url }));
    const { url } = await storage.prepare(image)({ signal: noAbort });
    expect(url).to.equal('https://example.com/%C3%A9.jpg');
  });

  it('hands on words that any database takes', async () => {
    const { message } = await failedPut((exchange) => answer(exchange, 400, failure('Invalid\0 image\ud800 file')));
    expect(message).to.equal('Cloudinary answered 400: Invalid image\ufffd file');
  });

  describe('over a connection that was idle', () => {
    const reset = ({ req }: Exchange) => req.socket.resetAndDestroy();
    const close = ({ req }: Exchange) => req.socket.end();
    /** The server that ends the connection at the second request, and takes the third if it is whole. */
    const startWith = async (
      image: StagedImage,
      end: (exchange: Exchange) => unknown,
      third: (exchange: Exchange) => unknown,
    ) => {
      const { server, storage } = await start(async (exchange) => {
        if (exchange.number === 1) return answer(exchange, 200, { status: 'ok' });
        return exchange.number === 2 ? end(exchange) : third(exchange);
      });
      await storage.check(noAbort);
      return { server, put: () => storage.prepare(image)({ signal: noAbort }) };
    };
    const takeWhole = (image: StagedImage, bytes: Buffer) => async (exchange: Exchange) => {
      const body = Buffer.concat(await exchange.req.toArray());
      const asset = body.includes(bytes) ? assetOf(image) : failure('half a body');
      exchange.res.end(JSON.stringify(asset));
    };

    for (const [how, end] of Object.entries({ reset, close })) {
      for (const [size, bytes] of Object.entries({ small: gif(20_000), large: gif(3_000_000) })) {
        it(`sends a ${size} image again at once, whole, when its end is a ${how}`, async () => {
          const image = await staging.stage(bytes, size === 'small' ? { content: bytes } : {});
          const { server, put } = await startWith(image, end, takeWhole(image, bytes));
          expect((await put()).md5).to.equal(image.md5);
          expect(server.requests()).to.equal(3);
          expect(await leftovers.settled(image.path)).to.deep.equal(nothingLeft);
          expect(leftovers.kept()).to.equal(1);
        });
      }
    }

    it('asks no third time', async () => {
      const image = await staging.stage();
      const { server, put } = await startWith(image, reset, reset);
      const error: HoplaError = await put().catch((reason) => reason);
      expect(error.code).to.equal('storage-unavailable');
      expect(server.requests()).to.equal(3);
      expect(await leftovers.settled(image.path)).to.deep.equal(nothingLeft);
    });

    it('asks once when half an answer came', async () => {
      const image = await staging.stage();
      const half = ({ req }: Exchange) => req.socket.end('HTTP/1.1 200 O');
      const { server, put } = await startWith(image, half, reset);
      const error: HoplaError = await put().catch((reason) => reason);
      expect(error.code).to.equal('storage-unavailable');
      expect(server.requests()).to.equal(2);
    });
  });

  it('asks once over a new connection, however that ends', async () => {
    const { server, storage } = await start(({ req }) => req.socket.resetAndDestroy());
    const error: HoplaError = await storage.check(noAbort).catch((reason) => reason);
    expect([error.code, server.requests()]).to.deep.equal(['storage-unavailable', 1]);
  });

  it('believes neither another size nor another status', async () => {
    const image = await staging.stage();
    const { storage } = await start((exchange) =>
      exchange.number === 1
        ? answer(exchange, 200, { ...assetOf(image), bytes: image.bytes + 1 })
        : answer(exchange, 500, assetOf(image)),
    );
    const codes = [];
    for (let tries = 0; tries < 2; tries += 1) {
      codes.push(
        await storage
          .prepare(image)({ signal: noAbort })
          .catch((reason: HoplaError) => reason.code),
      );
    }
    expect(codes).to.deep.equal(['storage-mismatch', 'storage-unavailable']);
  });

  it('takes no welcome page for a yes', async () => {
    const { storage } = await start((exchange) => answer(exchange, 200, '<html>welcome</html>'));
    for (const asked of [storage.check(noAbort), storage.remove('photos/1', noAbort)]) {
      const error: HoplaError = await asked.catch((reason) => reason);
      expect(error.code).to.equal('storage-unavailable');
    }
  });

  it('corrects a stale clock once and remembers it', async () => {
    const image = await staging.stage();
    const { server, storage } = await start(
      (exchange) =>
        exchange.number === 1
          ? answer(exchange, 400, failure('Stale request - reported time is ...'), { Date: at(NOON) })
          : answer(exchange, 200, assetOf(image)),
      { now: () => 0 },
    );
    await storage.prepare(image)({ signal: noAbort });
    expect(server.requests()).to.equal(2);
    await storage.prepare(image)({ signal: noAbort });
    expect(server.requests()).to.equal(3);
  });

  it('gives up on a clock that stays stale', async () => {
    let tries = 0;
    const error = await failedPut((exchange) => {
      tries += 1;
      return answer(exchange, 400, failure('Stale request'), { Date: at(NOON) });
    });
    expect([error.code, tries]).to.deep.equal(['storage-unavailable', 2]);
  });

  it('notices a connection that is silent, also on a check, for which the SDK would wait for ever', async () => {
    const { storage } = await start(() => {}, { idleTimeoutMs: 50 });
    const started = performance.now();
    const error: HoplaError = await storage.check(noAbort).catch((reason) => reason);
    expect(error.code).to.equal('storage-unavailable');
    expect(error.message).to.contain('idle');
    expect(performance.now() - started).to.be.lessThan(2000);
  });

  it('says that nobody listens', async () => {
    const { server, storage } = await start(() => {});
    await server.close();
    releases.splice(releases.indexOf(server.close), 1);
    const error: HoplaError = await storage.check(noAbort).catch((reason) => reason);
    expect(error.code).to.equal('storage-unavailable');
    expect(error.message).to.contain('ECONNREFUSED');
  });

  it('keeps the credentials out of the errors of a check', async () => {
    const { storage } = await start((exchange) => answer(exchange, 401, failure('unknown api_key')));
    const error: HoplaError = await storage.check(noAbort).catch((reason) => reason);
    expect(error.code).to.equal('storage-misconfigured');
    expect(inspect(error, { depth: 10, showHidden: true })).not.to.contain(secret);
  });
});

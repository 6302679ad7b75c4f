import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';

type Encoding = 'br' | 'gzip' | 'identity';

/** One file that browsers may have. `path` contains a hash of what it serves, so it may be cached for ever. */
type Asset = { path: string; type: string; hash: string; encoded(encoding: Encoding): Promise<Buffer> };

/** Files by the name they have behind `/assets/<hash>/`; what is not in here is not served. */
export type Assets = ReadonlyMap<string, Asset>;

/** What the page uses of the installed packages: the bare name that modules import it by, and the file. */
const packageFiles = {
  'uppy.js': { imported: 'uppy', file: 'uppy/dist/uppy.min.mjs' },
  'uppy.css': { imported: null, file: 'uppy/dist/uppy.min.css' },
  'sse.js': { imported: 'sse.js', file: 'sse.js/lib/sse.js' },
  'lean-qr.js': { imported: 'lean-qr', file: 'lean-qr' },
  'tus.min.js': { imported: 'tus-js-client/script', file: 'tus-js-client/dist/tus.min.js' },
} as const;

const types: Record<string, string> = {
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
};
/** Modules of ours that others import by a bare name. */
const ownModules = { 'hopla/client': 'client.js', 'tus-js-client': 'tus.js' };
/** The page, and the client that applications have, too. */
const FOLDERS = [new URL('page/', import.meta.url), new URL('../client/', import.meta.url)];

/**
 * Reads every file that the pages are made of, once; about 0.8 MB.
 *
 * A package's file has a hash of its own. Our modules import each other by relative addresses, so they share one: a
 * change of any gives all of them a new address, and no browser mixes two versions.
 */
export async function loadAssets(): Promise<Assets> {
  const own = (await Promise.all(FOLDERS.map(readOwn))).flat();
  const ownHash = hashOf(...own.flatMap(({ name, bytes }) => [Buffer.from(name), bytes]));
  const assets = own.map(({ name, bytes }) => createAsset(name, bytes, ownHash));
  for (const [name, { file }] of Object.entries(packageFiles)) {
    const bytes = await readFile(fileURLToPath(import.meta.resolve(file)));
    assets.push(createAsset(name, bytes, hashOf(bytes)));
  }
  return new Map(assets);
}

async function readOwn(folder: URL): Promise<{ name: string; bytes: Buffer }[]> {
  const names = (await readdir(folder)).filter((name) => /\.(js|css|svg)$/.test(name)).sort();
  return Promise.all(names.map(async (name) => ({ name, bytes: await readFile(new URL(name, folder)) })));
}

/** The import map that tells the browser where the packages' modules are. */
export function importMapOf(assets: Assets): string {
  const imports = Object.entries(packageFiles).flatMap(([name, { imported }]) =>
    imported === null ? [] : [[imported, pathOf(assets, name)]],
  );
  const own = Object.entries(ownModules).map(([imported, name]) => [imported, pathOf(assets, name)]);
  return JSON.stringify({ imports: Object.fromEntries([...imports, ...own]) });
}

/** The address of a file by its name. */
export function pathOf(assets: Assets, name: string): string {
  const asset = assets.get(name);
  if (!asset) throw new Error(`The page has no file ${name}`);
  return asset.path;
}

function createAsset(name: string, bytes: Buffer, hash: string): [string, Asset] {
  const encodings = new Map<Encoding, Promise<Buffer>>([['identity', Promise.resolve(bytes)]]);
  const type = types[name.slice(name.lastIndexOf('.') + 1)] ?? 'application/octet-stream';
  return [
    name,
    {
      path: `/assets/${hash}/${name}`,
      type,
      hash,
      encoded(encoding) {
        const made = encodings.get(encoding) ?? compressors[encoding](bytes);
        encodings.set(encoding, made);
        return made;
      },
    },
  ];
}

/** Quality 9 of 11: within 3 % of the smallest, in a tenth of its time. Each file is compressed once, when first asked for. */
const compressors: Record<Encoding, (bytes: Buffer) => Promise<Buffer>> = {
  br: (bytes) => promisify(brotliCompress)(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } }),
  gzip: promisify(gzip),
  identity: (bytes) => Promise.resolve(bytes),
};

function hashOf(...parts: Buffer[]): string {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest('base64url').slice(0, 16);
}

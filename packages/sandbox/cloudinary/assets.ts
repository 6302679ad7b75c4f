import { createHash, randomBytes } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ImageInfo } from './image-format.ts';

export type AssetName = { resourceType: 'image' | 'raw'; type: string; publicId: string };

/** What is known of a stored asset. It exists exactly when its record file does. */
export type Asset = AssetName & {
  assetId: string;
  versionId: string;
  /** Unix seconds of the upload; grows with every overwrite. */
  version: number;
  bytes: number;
  md5: string;
  image: ImageInfo | null;
  createdAt: string;
  originalFilename: string;
  assetFolder: string;
  displayName: string;
  tags: string[];
  context: Record<string, string>;
  /** Name of the file with the bytes. */
  blob: string;
};

export type NewAsset = Omit<Asset, 'assetId' | 'versionId' | 'version' | 'createdAt' | 'blob'>;

export type Assets = {
  /** A path for bytes that are not an asset yet; wiped at the next start. */
  temporaryPath(): string;
  find(name: AssetName): Promise<Asset | null>;
  /** Makes the file at `path`, already durable, the asset's bytes; with `overwrite` false an existing asset stays. */
  store(
    asset: NewAsset,
    path: string,
    options: { overwrite: boolean; nowMs: number },
  ): Promise<{ asset: Asset; existed: boolean }>;
  /** False when there was none. */
  remove(name: AssetName): Promise<boolean>;
  /** The bytes of an asset, to be closed by the caller; null when there is no such asset. */
  read(name: AssetName): Promise<{ asset: Asset; file: FileHandle; bytes: number } | null>;
  list(): Promise<Asset[]>;
};

/**
 * Assets as files: `blobs/` holds bytes, `records/` one JSON file per asset. The rename of the record is the moment an
 * asset changes, so a process killed anywhere leaves the old asset or the new one, and at worst a blob nobody names,
 * which the next start removes.
 */
export async function openAssets(directory: string): Promise<Assets> {
  const [temporary, blobs, records] = ['tmp', 'blobs', 'records'].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ];
  await rm(temporary, { recursive: true, force: true });
  for (const folder of [temporary, blobs, records]) await mkdir(folder, { recursive: true });

  const inTurn = createTurns();
  const temporaryPath = () => join(temporary, randomBytes(12).toString('hex'));
  const recordPath = (name: AssetName) => join(records, `${keyOf(name)}.json`);
  const find = (name: AssetName) => readRecord(recordPath(name));
  const list = async () => {
    const found: Asset[] = [];
    // One after the other: thousands of files opened at once would use up the process's descriptors.
    for (const name of await readdir(records)) {
      const asset = await readRecord(join(records, name));
      if (asset !== null) found.push(asset);
    }
    return found;
  };

  const named = new Set((await list()).map((asset) => asset.blob));
  for (const blob of await readdir(blobs)) if (!named.has(blob)) await rm(join(blobs, blob), { force: true });

  return {
    temporaryPath,
    find,
    list,

    store: (incoming, path, { overwrite, nowMs }) =>
      inTurn(keyOf(incoming), async () => {
        const before = await find(incoming);
        if (before !== null && !overwrite) return { asset: before, existed: true };
        const version = Math.max(Math.floor(nowMs / 1000), (before?.version ?? 0) + 1);
        const asset: Asset = {
          ...incoming,
          assetId: before?.assetId ?? randomBytes(16).toString('hex'),
          versionId: randomBytes(16).toString('hex'),
          version,
          createdAt: new Date(version * 1000).toISOString().replace('.000Z', 'Z'),
          blob: `${keyOf(incoming)}-${randomBytes(6).toString('hex')}`,
        };
        await rename(path, join(blobs, asset.blob));
        await syncDirectory(blobs);
        await writeRecord(asset, temporaryPath(), recordPath(asset));
        await syncDirectory(records);
        if (before !== null) await rm(join(blobs, before.blob), { force: true });
        return { asset, existed: before !== null };
      }),

    remove: (name) =>
      inTurn(keyOf(name), async () => {
        const asset = await find(name);
        if (asset === null) return false;
        await rm(recordPath(name), { force: true });
        await syncDirectory(records);
        await rm(join(blobs, asset.blob), { force: true });
        return true;
      }),

    async read(name) {
      for (let tries = 0; ; tries += 1) {
        const asset = await find(name);
        if (asset === null) return null;
        try {
          const file = await open(join(blobs, asset.blob));
          return { asset, file, bytes: (await file.stat()).size };
        } catch (error) {
          // ENOENT: overwritten between record and blob; the record names another blob now.
          if (!isMissing(error) || tries === 3) throw error;
        }
      }
    },
  };
}

/** The file name of an asset: a hash, because a public id may be longer than a file name and contain slashes. */
function keyOf({ resourceType, type, publicId }: AssetName): string {
  return createHash('sha256').update(`${resourceType}/${type}/${publicId}`).digest('hex').slice(0, 40);
}

/** Runs jobs of the same key one after the other. */
function createTurns(): <T>(key: string, job: () => Promise<T>) => Promise<T> {
  const last = new Map<string, Promise<unknown>>();
  return async (key, job) => {
    const turn = (last.get(key) ?? Promise.resolve()).then(job, job);
    last.set(key, turn);
    try {
      return await turn;
    } finally {
      if (last.get(key) === turn) last.delete(key);
    }
  };
}

async function readRecord(path: string): Promise<Asset | null> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Asset;
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

async function writeRecord(asset: Asset, temporary: string, path: string): Promise<void> {
  const file = await open(temporary, 'wx');
  try {
    await file.writeFile(JSON.stringify(asset));
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

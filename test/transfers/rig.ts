import { createHash } from 'node:crypto';
import { readdirSync, readlinkSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import pino, { type Logger } from 'pino';
import * as tus from 'tus-js-client';
import { type Api, type Json, tusOptions, until } from '../support/client.ts';

/** A log that can be read again. */
export type LogBook = { log: Logger; lines: Json[] };

export function createLogBook(): LogBook {
  const lines: Json[] = [];
  const write = (line: string) => void lines.push(JSON.parse(line));
  return { log: pino({ level: 'debug' }, { write }), lines };
}

/** An upload that has its place, and so its image id, but no byte yet. */
export type Begun = { imageId: string; uploadUrl: string; ticket: Json; send(): Promise<void> };

/** Creates an upload by hand, so that faults can be set for its id, for an unmodified tus-js-client to fill. */
export async function beginUpload(api: Api, ticket: Json, bytes: Buffer): Promise<Begun> {
  const headers = { ...tusOptions(ticket).headers, 'Tus-Resumable': '1.0.0', 'Upload-Length': `${bytes.length}` };
  const { status, headers: answer } = await api.call('POST', ticket.uploadUrl, { headers });
  if (status !== 201) throw new Error(`no upload: ${status}`);
  const uploadUrl = answer.get('Location') ?? '';
  return {
    ticket,
    uploadUrl,
    imageId: uploadUrl.split('/').at(-1) ?? '',
    send: () =>
      new Promise((onSuccess, onError) => {
        const options = { ...tusOptions(ticket), uploadUrl, onSuccess: () => onSuccess(), onError };
        new tus.Upload(bytes, options).start();
      }),
  };
}

/** Resolves to the image once it has one of these statuses. */
export async function untilImage(
  api: Api,
  { ticket, imageId }: Pick<Begun, 'ticket' | 'imageId'>,
  statuses: string[],
  ms?: number,
): Promise<Json> {
  let last: Json;
  const found = async () => {
    const images = (await api.ticket(ticket.id)).images as Json[];
    last = images.find(({ id }) => id === imageId);
    return statuses.includes(last?.status) ? last : null;
  };
  return until(`image ${imageId} is ${statuses.join(' or ')}`, found, ms).catch((error) => {
    throw new Error(`${error.message}; it is ${JSON.stringify(last)}`);
  });
}

/** The records that a local Cloudinary has of what it stored. */
export async function storedAssets(directory: string): Promise<Json[]> {
  const records = join(directory, 'records');
  const names = (await readdir(records)).filter((name) => name.endsWith('.json'));
  return Promise.all(names.map(async (name) => JSON.parse(await readFile(join(records, name), 'utf8'))));
}

/** Fails unless the storage has exactly one asset of the image, with exactly these bytes, and the receipt names it. */
export async function expectStoredOnce(directory: string, image: Json, bytes: Buffer): Promise<void> {
  const assets = (await storedAssets(directory)).filter(({ publicId }) => publicId === `hopla/${image.id}`);
  expect(assets, 'assets of the image').to.have.length(1);
  expect(assets[0]).to.include({ bytes: bytes.length, md5: createHash('md5').update(bytes).digest('hex') });
  expect(image).to.deep.include({
    status: 'stored',
    error: null,
    sha256: createHash('sha256').update(bytes).digest('hex'),
  });
  expect(image.storage).to.deep.include({ key: `hopla/${image.id}`, assetId: assets[0].assetId });
  const delivered = Buffer.from(await (await fetch(image.url)).arrayBuffer());
  expect(delivered.equals(bytes), 'the stored bytes are those of the photo').to.equal(true);
}

/** Files below a folder that this process has open. */
export function openFiles(directory: string): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const path = readlinkSync(`/proc/self/fd/${fd}`);
      return path.startsWith(`${directory}/`) ? [path] : [];
    } catch {
      // ENOENT: the descriptor by which the directory itself was read.
      return [];
    }
  });
}

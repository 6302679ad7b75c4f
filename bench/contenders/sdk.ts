/**
 * The store's SDK and nothing else: sends every file of a folder with `upload_stream`, so many at once, over connections
 * that are kept. Prints how long that took.
 */
import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { Agent } from 'node:http';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { v2 as cloudinary } from 'cloudinary';
import { parseCloudinaryUrl } from '../../src/storage/cloudinary-account.ts';

const [, , directory = '.', concurrency = '1', folder = 'plain'] = process.argv;
const agent = new Agent({ keepAlive: true, maxSockets: Number(concurrency) });
const account = parseCloudinaryUrl(process.env.CLOUDINARY_URL ?? '');

function send(name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const options = { ...account, agent, public_id: `${folder}/${name}`, overwrite: false };
    const upload = cloudinary.uploader.upload_stream(options, (error) => (error ? reject(error) : resolve()));
    pipeline(createReadStream(join(directory, name)), upload).catch(reject);
  });
}

const names = (await readdir(directory)).filter((name) => !name.startsWith('.'));
const begun = performance.now();
const lane = async () => {
  for (let name = names.pop(); name !== undefined; name = names.pop()) await send(name);
};
const images = names.length;
await Promise.all(Array.from({ length: Number(concurrency) }, lane));
const seconds = (performance.now() - begun) / 1000;
const { user, system } = process.cpuUsage();
process.stdout.write(`${JSON.stringify({ images, seconds, cpuMsPerImage: (user + system) / 1000 / images })}\n`);
agent.destroy();

/**
 * The store's SDK and nothing else: sends every file of a folder with `upload_stream`, so many at once, over connections
 * that are kept. Says when the first `warmUp` are sent, and when all are; ends with its input.
 */
import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { Agent } from 'node:http';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { v2 as cloudinary } from 'cloudinary';
import { parseCloudinaryUrl } from '../../src/storage/cloudinary/account.ts';

const [, , directory = '.', concurrency = '1', folder = 'plain', warmUp = '0'] = process.argv;
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
let sent = 0;
const lane = async () => {
  for (let name = names.pop(); name !== undefined; name = names.pop()) {
    await send(name);
    sent += 1;
    if (sent === Number(warmUp)) process.stdout.write('warm\n');
  }
};
await Promise.all(Array.from({ length: Number(concurrency) }, lane));
process.stdout.write('sent\n');
process.stdin.resume().on('end', () => agent.destroy());

// With hopla's own client: HOPLA=http://… TOKEN=hop_… node client.mjs photo.jpg …
import { createReadStream } from 'node:fs';
import { basename } from 'node:path';
import process from 'node:process';
import { createClient } from 'hopla/client';

const paths = process.argv.slice(2);
const client = createClient({ url: process.env.HOPLA, token: process.env.TOKEN });

const ticket = await client.openTicket({ images: paths.length, description: 'from client.mjs' });
// A slot is the photo's place in the ticket, the same over every retry: one that was begun is found by it, and goes on.
const photos = paths.map((path, index) => ({
  slot: `photo-${index + 1}`,
  filename: basename(path),
  data: () => createReadStream(path),
}));
const delivered = client.delivered(ticket, { onEvent: ({ type }) => process.stderr.write(`${type}\n`) });
for (const result of await client.upload(ticket, photos)) if (result.status === 'refused') throw result.error;
for (const { url } of (await delivered).images) process.stdout.write(`${url}\n`);

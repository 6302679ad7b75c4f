// With plain tus-js-client: HOPLA=http://… TOKEN=hop_… node tus.mjs photo.jpg
import { createReadStream } from 'node:fs';
import { basename } from 'node:path';
import process from 'node:process';
import * as tus from 'tus-js-client';

const [path] = process.argv.slice(2);

// Your server, with a user token.
const response = await fetch(`${process.env.HOPLA}/v1/tickets`, {
  method: 'POST',
  headers: { Authorization: `Bearer ${process.env.TOKEN}`, 'Content-Type': 'application/json' },
  body: JSON.stringify({ images: 1, description: 'from tus.mjs' }),
});
if (!response.ok) throw new Error(await response.text());
const ticket = await response.json();

// Anybody, with the upload token of this one ticket. A repeat with the same slot finds the upload it began: a POST whose answer
// is lost takes no second place.
await new Promise((resolve, reject) => {
  new tus.Upload(createReadStream(path), {
    endpoint: ticket.uploadUrl,
    headers: { Authorization: `Bearer ${ticket.uploadToken}` },
    metadata: { filename: basename(path), slot: 'photo-1' },
    retryDelays: [0, 1000, 3000, 5000, 10_000],
    onProgress: (bytes, total) => process.stderr.write(`${Math.floor((bytes / total) * 100)} %\n`),
    onError: reject,
    onSuccess: resolve,
  }).start();
});
process.stdout.write(`${ticket.id}\n`);

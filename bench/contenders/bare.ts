/**
 * The least that the promise costs: a body is hashed, its file synced, and one statement claims its place, receives it and
 * queues its transfer. No tus, no users, no look at the image, no events, no room for a body larger than memory; the folder is
 * not synced either, so that not even a power cut is survived for certain.
 */
import { createHash, randomUUID } from 'node:crypto';
import { open } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import pg from 'pg';
import { createGroupCommit } from '../../src/ledger/group-commit.ts';
import { announce, directory } from './contender.ts';

type Received = { id: string; size: number; sha256: string };

const db = new pg.Pool({ connectionString: process.argv[3], max: 1 });
const ticket = randomUUID();
await db.query(`
  CREATE TABLE tickets (id uuid PRIMARY KEY, expected int, received int);
  CREATE TABLE images (id uuid PRIMARY KEY, ticket_id uuid REFERENCES tickets, status text, size bigint, sha256 text);
  CREATE TABLE jobs (id uuid PRIMARY KEY, created_at timestamptz DEFAULT now());
  INSERT INTO tickets VALUES ('${ticket}', 1000000000, 0)`);

const commit = createGroupCommit(async (images: Received[]) => {
  const columns = [images.map(({ id }) => id), images.map(({ size }) => size), images.map(({ sha256 }) => sha256)];
  await db.query({
    name: 'receive',
    text: `WITH counted AS (
             UPDATE tickets SET received = received + $2 WHERE id = $1 AND received + $2 <= expected RETURNING id
           ), added AS (
             INSERT INTO images SELECT image.id, counted.id, 'received', size, sha256
             FROM counted, unnest($3::uuid[], $4::bigint[], $5::text[]) AS image (id, size, sha256) RETURNING id
           ) INSERT INTO jobs SELECT id FROM added`,
    values: [ticket, images.length, ...columns],
  });
  return images.map(() => undefined);
});

const server = createServer((request, response) => {
  const sha256 = createHash('sha256');
  const pieces: Buffer[] = [];
  request.on('data', (piece: Buffer) => {
    sha256.update(piece);
    pieces.push(piece);
  });
  request.on('end', () => {
    receive(pieces, sha256.digest('hex')).then(
      () => response.writeHead(201, { 'Content-Length': 0 }).end(),
      () => response.destroy(),
    );
  });
});

async function receive(pieces: Buffer[], sha256: string): Promise<void> {
  const id = randomUUID();
  const file = await open(join(directory, id), 'wx');
  const { bytesWritten: size } = await file.writev(pieces);
  await file.datasync();
  await file.close();
  await commit({ id, size, sha256 });
}

announce(server);

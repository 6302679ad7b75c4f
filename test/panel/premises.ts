import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Database } from '../../src/database/connection.ts';
import type { Image, Ticket } from '../../src/database/models.ts';
import { openTicket } from '../../src/tickets/open.ts';
import { makeImage } from '../admin/things.ts';
import type { Json } from '../support/client.ts';
import type { TestGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';

export function makeTicket(
  db: Database,
  userId: string,
  request: { images?: number; description?: string | null; metadata?: Record<string, unknown> | null } = {},
): Promise<Ticket> {
  const whole = { images: 1, description: null, metadata: null, expiresIn: 3600, ...request };
  return openTicket(db, userId, whole, null).then(({ ticket }) => ticket);
}

/** A failed image whose file still waits in the gateway's staging area. */
export async function makeFailed(gateway: TestGateway, ticketId: string, filename: string): Promise<Image> {
  const directory = gateway.config.STAGING_DIR;
  const photo = jpeg({ bytes: 20_000, seed: filename.length });
  const hash = (algorithm: string) => createHash(algorithm).update(photo).digest('hex');
  const image = await makeImage(gateway.db, ticketId, 'failed', {
    filename,
    staging: (await readFile(join(directory, '.staging-id'), 'utf8')).trim(),
    size: photo.length,
    sha256: hash('sha256'),
    md5: hash('md5'),
  });
  await writeFile(join(directory, image.id), photo);
  return image;
}

/** What the audit log has of something, the oldest first. */
export function logOf(db: Database, targetId: string): Promise<Json[]> {
  return db('audit_log').where({ target_id: targetId }).orderBy('id');
}

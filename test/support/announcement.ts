import { readAnnounced } from '../../src/ledger/count-and-announce.ts';
import type { Json } from './client.ts';

/** The changes in a payload of `hopla_changes`: the row of a ticket, and the row of the image, or null without an image. */
export function readRows(payload: string): { ticket: Json; image: Json | null }[] {
  return readAnnounced(payload).read();
}

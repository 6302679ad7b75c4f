import { readAnnounced } from '../../src/ledger/count-and-announce.ts';
import type { Json } from './client.ts';

/** The changes in a payload of `hopla_changes`: rows of a ticket, and of an image where it is about one. */
export function readRows(payload: string): { ticket: Json; image: Json | null }[] {
  return readAnnounced(payload).read();
}

import type { Json } from './client.ts';

/** The rows of a payload of `hopla_changes`, which come after a line that says what they are about. */
export function readRows(payload: string): Json {
  return JSON.parse(payload.slice(payload.indexOf('\n') + 1));
}

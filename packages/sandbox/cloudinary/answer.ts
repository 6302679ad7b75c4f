import type { FileHandle } from 'node:fs/promises';

type Body = { json: Record<string, unknown> } | { html: string } | { file: FileHandle; bytes: number };
export type Answer = { status: number; headers?: Record<string, string> } & Body;

/** Cloudinary's form of an error. */
export function refuse(status: number, message: string): Answer {
  // A header value is printable ASCII; the message may quote whatever the caller sent.
  return { status, headers: { 'X-Cld-Error': message.replace(/[^\x20-\x7e]/g, '?') }, json: { error: { message } } };
}

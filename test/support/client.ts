import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import * as tus from 'tus-js-client';

// biome-ignore lint/suspicious/noExplicitAny: a test says what it expects by looking, and fails where it is not so
export type Json = any;

/** An answer of the HTTP API. JSON is parsed; no status is an error. */
export type Answer = { status: number; headers: Headers; body: Json };

export type Api = {
  readonly url: string;
  readonly token: string;
  call(
    method: string,
    path: string,
    options?: { body?: unknown; headers?: Record<string, string>; token?: string | null },
  ): Promise<Answer>;
  /** Opens a ticket, or fails. */
  openTicket(images: number, more?: Record<string, unknown>): Promise<Json>;
  ticket(id: string): Promise<Json>;
};

export function createApi(url: string, token: string): Api {
  const call: Api['call'] = async (method, path, { body, headers = {}, token: other } = {}) => {
    const bearer = other === undefined ? token : other;
    const response = await fetch(new URL(path, url), {
      method,
      headers: {
        ...(bearer === null ? {} : { Authorization: `Bearer ${bearer}` }),
        ...(body === undefined || Buffer.isBuffer(body) ? {} : { 'Content-Type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: Buffer.isBuffer(body) ? new Uint8Array(body) : JSON.stringify(body) }),
    });
    const text = await response.text();
    const json = response.headers.get('Content-Type')?.includes('json') && text !== '';
    return { status: response.status, headers: response.headers, body: json ? JSON.parse(text) : text };
  };
  return {
    url,
    token,
    call,
    async openTicket(images, more = {}) {
      const { status, body } = await call('POST', '/v1/tickets', { body: { images, ...more } });
      if (status !== 201) throw new Error(`no ticket: ${status} ${JSON.stringify(body)}`);
      return body;
    },
    async ticket(id) {
      const { status, body } = await call('GET', `/v1/tickets/${id}`);
      if (status !== 200) throw new Error(`no ticket: ${status} ${JSON.stringify(body)}`);
      return body;
    },
  };
}

/** Waits for a truthy value of `condition`, and resolves to it; throws an Error with `description` after `timeoutMs`. */
export async function until<T>(
  description: string,
  condition: () => Promise<T> | T,
  timeoutMs = 15_000,
): Promise<NonNullable<T>> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs} ms for: ${description}`);
    await delay(20);
  }
}

/** Resolves to the ticket when all of its images are stored. */
export async function untilCompleted(api: Api, ticketId: string, timeoutMs?: number): Promise<Json> {
  return until(
    `ticket ${ticketId} is completed`,
    async () => {
      const ticket = await api.ticket(ticketId);
      return ticket.status === 'completed' ? ticket : null;
    },
    timeoutMs,
  );
}

/** Uploads with an unmodified tus-js-client. Resolves to the upload when the client reports success. */
export function tusUpload(file: Buffer | Readable, options: tus.UploadOptions): Promise<tus.Upload> {
  return new Promise((resolve, reject) => {
    const upload = new tus.Upload(file, {
      retryDelays: [0, 50, 100, 200, 400, 800, 1600],
      ...options,
      onError: reject,
      onSuccess: () => resolve(upload),
    });
    upload.start();
  });
}

/** The options that a ticket's upload token gives to tus-js-client. */
export function tusOptions(ticket: { uploadUrl: string; uploadToken: string }): tus.UploadOptions {
  return { endpoint: ticket.uploadUrl, headers: { Authorization: `Bearer ${ticket.uploadToken}` } };
}

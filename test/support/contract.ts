import { channel } from 'node:diagnostics_channel';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { openApiDocument } from '../../src/api-docs/openapi.ts';
import type { Json } from './client.ts';

/** An answer of a gateway, as sent to the client. */
export type Answered = {
  method: string;
  path: string;
  status: number;
  contentType: string;
  body: string;
};

const document: Json = openApiDocument('0.0.0');
const paths = Object.keys(document.paths).map((path) => ({
  path,
  pattern: new RegExp(`^${path.replace(/\{\w+\}/g, '[^/]+').replace(/\./g, '\\.')}$`),
}));
const ajv = new Ajv2020({ strict: false });
formats.default(ajv);
ajv.addSchema(document, 'api');

/**
 * Says how an answer deviates from the OpenAPI document: an unknown status, content type or error code, or a body or event
 * of another shape. Null when the answer agrees, or when the address is outside the API.
 */
export function deviationOf({ method, path, status, contentType, body }: Answered): string | null {
  const found = paths.find(({ pattern }) => pattern.test(path));
  const operations = found && document.paths[found.path];
  const name = method.toLowerCase();
  const operation = operations?.[name] ?? (name === 'head' ? operations?.get : undefined);
  const [type = ''] = contentType.split(';');
  // Addresses outside the API are refused with a problem document, too.
  if (!operation) return type === 'application/problem+json' && method !== 'HEAD' ? problemWith(body) : null;
  const answer = operation.responses[status];
  if (!answer) return `${status} is not documented: ${body.slice(0, 200)}`;
  if (body === '') return answer.content && method !== 'HEAD' && name in operations ? 'there is no body' : null;
  const content = answer.content?.[type];
  if (!content) return `${type} is not documented for ${status}`;
  if (type === 'text/event-stream') return eventsWith(body, content['x-events']);
  if (!type.includes('json')) return null;
  const value = JSON.parse(body);
  if (content.examples && !(value.code in content.examples)) return `${value.code} is not documented for ${status}`;
  return mismatch(content.schema.$ref, value);
}

function problemWith(body: string): string | null {
  return mismatch('#/components/schemas/Problem', JSON.parse(body));
}

function eventsWith(text: string, known: Record<string, { $ref: string }>): string | null {
  for (const block of text.split('\n\n')) {
    const [, event, data] = /(?:^|\n)event: (\w+)\ndata: (.+)$/.exec(block) ?? [];
    if (!event || !data) continue;
    if (!known[event]) return `the event ${event} is not documented`;
    const wrong = mismatch(known[event].$ref, JSON.parse(data));
    if (wrong) return `${event}: ${wrong}`;
  }
  return null;
}

const validators = new Map<string, ValidateFunction>();

/** The way in which a value breaks the schema at a place of the document, or null. */
export function mismatch(ref: string, value: unknown): string | null {
  const validate = validators.get(ref) ?? ajv.compile({ $ref: `api${ref}` });
  validators.set(ref, validate);
  return validate(value) ? null : `${ref}: ${ajv.errorsText(validate.errors)}: ${JSON.stringify(value).slice(0, 400)}`;
}

type Exchange = { request: IncomingMessage; response: ServerResponse; server: Server };

/** Ports of the gateways of this process. */
const watched = new Set<number>();

/**
 * Compares every answer and event of the gateway at this address with the OpenAPI document, whichever client asked. A
 * deviation is an uncaught exception, so the running test fails.
 */
export function holdToContract(url: string): { [Symbol.dispose](): void } {
  if (watched.size === 0) channel('http.server.request.start').subscribe(follow);
  const port = Number(new URL(url).port);
  watched.add(port);
  return {
    [Symbol.dispose]() {
      watched.delete(port);
      if (watched.size === 0) channel('http.server.request.start').unsubscribe(follow);
    },
  };
}

function follow(message: unknown): void {
  const { request, response, server } = message as Exchange;
  if (!watched.has((server.address() as AddressInfo | null)?.port ?? 0)) return;
  const [path = '/'] = (request.url ?? '/').split('?');
  const override = request.headers['x-http-method-override'];
  const method = `${request.method === 'POST' && path.includes('/uploads') && override ? override : request.method}`;
  let body = '';
  const judge = (text: string) => {
    const contentType = `${response.getHeader('Content-Type') ?? ''}`;
    const wrong = deviationOf({
      method: method.toUpperCase(),
      path,
      status: response.statusCode,
      contentType,
      body: text,
    });
    if (wrong === null) return;
    const error = new Error(`${method} ${request.url} answered what /openapi.json does not say: ${wrong}`);
    // Thrown later: an exception in the middle of an answer would break the gateway instead of the test.
    process.nextTick(() => {
      throw error;
    });
  };
  const see = (piece: unknown) => {
    if (typeof piece !== 'string' && !Buffer.isBuffer(piece)) return;
    const type = `${response.getHeader('Content-Type') ?? ''}`;
    // A stream has no end to wait for, and each piece consists of whole events.
    if (type.startsWith('text/event-stream')) judge(`${piece}`);
    else if (type.includes('json')) body += piece;
    else if (piece.length > 0) body = '(not kept)';
  };
  const { write, end } = response;
  response.write = (...all: unknown[]) => {
    see(all[0]);
    return write.apply(response, all as never);
  };
  response.end = (...all: unknown[]) => {
    see(all[0]);
    return end.apply(response, all as never);
  };
  response.once('finish', () => {
    if (!`${response.getHeader('Content-Type')}`.startsWith('text/event-stream')) judge(body);
  });
}

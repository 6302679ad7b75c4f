import { z } from 'zod';
import { Credentials, LogoutRequest, PasswordRequest } from '../../identity/routes.ts';
import { type ErrorCode, errorKinds } from '../../model/errors.ts';
import { TicketRequest } from '../../tickets/open.ts';
import {
  ImageView,
  OpenedTicket,
  TicketDetail,
  TicketPageView,
  TicketView,
  UploadTokenPage,
  UploadTokenView,
} from '../../tickets/schemas.ts';
import { problems as explanations } from '../error-catalogue.ts';
import * as examples from './examples.ts';

export type Json = Record<string, unknown>;

const SCHEMAS = '#/components/schemas/';
const codes = Object.keys(errorKinds) as [ErrorCode, ...ErrorCode[]];

const Problem = z
  .looseObject({
    type: z.string(),
    title: z.string(),
    status: z.int().min(400).max(599),
    detail: z.string().describe('what to change'),
    code: z.enum(codes),
    requestId: z.string().describe('stands in the log, too'),
    errors: z
      .array(z.object({ path: z.string(), message: z.string() }))
      .optional()
      .describe('with `invalid-request`: each value that is not allowed'),
  })
  .meta({
    id: 'Problem',
    description:
      'RFC 9457. Decide by `code`; `detail` says what to change. Beside the codes that each call names: `not-found`, an unknown address; `method-not-allowed`, a known one that does not take the method.',
  });

export const Session = z
  .strictObject({
    token: z.string(),
    tokenType: z.literal('Bearer'),
    expiresAt: z.iso.datetime(),
    user: z.strictObject({ id: z.uuid(), username: z.string() }),
  })
  .meta({ id: 'Session' });

const Progress = z
  .strictObject({
    ticketId: z.uuid(),
    imageId: z.uuid(),
    leg: z.enum(['upload', 'transfer']).describe('from the client to hopla, or from hopla to the storage'),
    bytes: z.int(),
    total: z.int().nullable(),
  })
  .meta({ id: 'Progress', description: 'the data of a `progress` event' });

const ticketId = { ticketId: z.uuid() };
const TicketEvent = TicketView.extend(ticketId).meta({
  id: 'TicketEvent',
  description: 'the data of a `ticket` event',
});
const ImageEvent = ImageView.extend(ticketId).meta({ id: 'ImageEvent', description: 'the data of an `image` event' });
const EndEvent = z
  .strictObject({ ...ticketId, status: TicketView.shape.status })
  .meta({ id: 'EndEvent', description: 'the data of an `end` event' });

const Health = z.strictObject({ status: z.literal('ok') }).meta({ id: 'Health' });
const works = z.enum(['ok', 'failed']);
const Readiness = z
  .strictObject({ checks: z.strictObject({ database: works, staging: works, storage: works, queue: works }) })
  .meta({ id: 'Readiness' });

const schemas = {
  Problem,
  Credentials: Credentials.meta({ id: 'Credentials' }),
  Session,
  LogoutRequest: LogoutRequest.meta({ id: 'LogoutRequest' }),
  PasswordRequest: PasswordRequest.meta({ id: 'PasswordRequest' }),
  TicketRequest: TicketRequest.meta({ id: 'TicketRequest' }),
  OpenedTicket,
  TicketPage: TicketPageView,
  UploadTokenPage,
  UploadToken: UploadTokenView,
  TicketDetail,
  Ticket: TicketView,
  Image: ImageView,
  TicketEvent,
  ImageEvent,
  Progress,
  EndEvent,
  Health,
  Readiness,
};

export const ref = (name: keyof typeof schemas) => ({ $ref: `${SCHEMAS}${name}` });

/** A header of an answer. */
export const header = (description: string, example: string | number) => ({
  description,
  schema: { type: typeof example === 'number' ? 'integer' : 'string' },
  example,
});

/** Its example stands in the schema: the viewer fills a field with an example beside it, and would send that. */
export const parameter = (
  place: 'path' | 'query' | 'header',
  name: string,
  description: string,
  schema: Json,
  required = place === 'path',
) => ({ in: place, name, description, required, schema });

export const answer = (description: string, more: Json = {}) => ({ description, ...more });

export const json = (name: keyof typeof schemas, example: Json) => ({
  content: { 'application/json': { schema: ref(name), example } },
});

/** Answers for error codes, grouped by their status; each code is an example. */
export function problems(...all: ErrorCode[]): Json {
  const groups = Map.groupBy(all, (code) => errorKinds[code].status);
  const answers = [...groups].map(([status, group]) => {
    const description = group.map((code) => `[\`${code}\`](/problems/${code}): ${errorKinds[code].title}`);
    const content = { schema: ref('Problem'), examples: Object.fromEntries(group.map(problemExample)) };
    return [`${status}`, answer(description.join('\n\n'), { content: { 'application/problem+json': content } })];
  });
  return Object.fromEntries(answers);
}

function problemExample(code: ErrorCode): [string, Json] {
  const { title, status } = errorKinds[code];
  const { meaning, remedy } = explanations[code];
  const value = {
    ...{ type: `/problems/${code}`, title, status, detail: title, code },
    requestId: 'b2d2b1a6-6b1f-4c3e-9f57-6d1c3f7f3c52',
    ...(code === 'invalid-request' ? { errors: [{ path: 'images', message: 'must be at least 1' }] } : {}),
  };
  return [code, { summary: title, description: `${meaning} ${remedy}`, value }];
}

/** What any call may answer. The upload calls of tus say 423 in place of the last two: clients would begin anew. */
export const ALWAYS = ['malformed-request', 'headers-too-large'] as const;
export const OUTAGES = ['internal-error', 'service-unavailable'] as const;

export const ticketParameter = parameter('path', 'ticketId', 'id of the ticket', {
  type: 'string',
  format: 'uuid',
  examples: [examples.TICKET_ID],
});

/** The schemas by their names, as JSON Schema. */
export function componentSchemas(): Json {
  const registry = z.registry<{ id: string }>();
  for (const [id, schema] of Object.entries(schemas)) registry.add(schema, { id });
  const made = z.toJSONSchema(registry, {
    io: 'input',
    unrepresentable: 'any',
    uri: (id) => `${SCHEMAS}${id}`,
  }).schemas;
  return Object.fromEntries(Object.entries(made).map(([name, { $schema, $id, id, ...schema }]) => [name, schema]));
}

import { TicketView } from '../../tickets/schemas.ts';
import * as examples from './examples.ts';
import { ALWAYS, answer, header, json, OUTAGES, parameter, problems, ticketParameter } from './parts.ts';

export const ticketPaths = {
  '/v1/tickets': {
    post: {
      operationId: 'openTicket',
      tags: ['Tickets'],
      summary: 'Open a ticket for a number of images',
      parameters: [
        parameter('header', 'Idempotency-Key', 'makes a repeat return the same ticket, with a fresh upload token', {
          type: 'string',
          maxLength: 255,
          examples: ['claim-4711'],
        }),
      ],
      requestBody: { required: true, ...json('TicketRequest', examples.ticketRequest) },
      responses: {
        201: answer('The ticket, with its upload token', {
          headers: { Location: header('address of the ticket', examples.UPLOADS_URL.replace('/uploads', '')) },
          ...json('OpenedTicket', examples.openedTicket),
        }),
        ...problems(
          'malformed-json',
          'unauthorized',
          'forbidden',
          'body-too-large',
          'unsupported-media-type',
          'invalid-request',
          'idempotency-key-reused',
          'quota-exceeded',
          'too-many-requests',
          ...ALWAYS,
          ...OUTAGES,
        ),
      },
    },
    get: {
      operationId: 'listTickets',
      tags: ['Tickets'],
      summary: 'List own tickets, newest first',
      parameters: [
        parameter('query', 'status', 'repeatable, or comma-separated', {
          type: 'array',
          items: { type: 'string', enum: TicketView.shape.status.options },
        }),
        parameter('query', 'createdFrom', 'an RFC 3339 time, or a day in UTC; inclusive', {
          type: 'string',
          examples: ['2026-11-01'],
        }),
        parameter('query', 'createdTo', 'an RFC 3339 time, or a day in UTC as a whole; inclusive', {
          type: 'string',
          examples: ['2026-11-30'],
        }),
        parameter('query', 'limit', 'tickets on a page', { type: 'integer', minimum: 1, maximum: 100, default: 20 }),
        parameter('query', 'cursor', '`nextCursor` of the page before', {
          type: 'string',
          examples: [examples.ticketPage.nextCursor],
        }),
      ],
      responses: {
        200: answer('A page', {
          headers: { Link: header('the next page, if there is one', '</v1/tickets?cursor=MjAyNi0xMS0y>; rel="next"') },
          ...json('TicketPage', examples.ticketPage),
        }),
        ...problems('unauthorized', 'forbidden', 'invalid-request', 'too-many-requests', ...ALWAYS, ...OUTAGES),
      },
    },
  },
  '/v1/tickets/{ticketId}': {
    parameters: [ticketParameter],
    get: {
      operationId: 'showTicket',
      tags: ['Tickets'],
      summary: 'A ticket and its images',
      parameters: [parameter('header', 'If-None-Match', 'an earlier ETag', { type: 'string', examples: ['"7"'] })],
      responses: {
        200: answer('The ticket', {
          headers: { ETag: header('of this state', '"7"') },
          ...json('TicketDetail', examples.ticketDetail),
        }),
        304: answer('As before'),
        ...problems('unauthorized', 'ticket-not-found', 'too-many-requests', ...ALWAYS, ...OUTAGES),
      },
    },
  },
};

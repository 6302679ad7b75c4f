import * as examples from './examples.ts';
import { ALWAYS, answer, type Json, OUTAGES, parameter, problems, ref, ticketParameter } from './parts.ts';

const EVENTS = `| event | data | id |
|---|---|---|
| \`snapshot\` | TicketDetail: the ticket as it is now, always first | version |
| \`image\` | ImageEvent: one image, after a change; a rejected one says why in its \`error\` | version |
| \`ticket\` | TicketEvent: the ticket, after a change | version |
| \`progress\` | Progress: at most four a second per image and leg | none |
| \`end\` | EndEvent: the ticket is completed, or expired with nothing under way; the stream closes | \`<version>-end\` |

\`retry: 2000\` comes first, in the block of the first event, and a comment line every 15 s keeps the connection alive. A
connection that was lost and comes back gets a new \`snapshot\`; one that comes back after the \`end\` gets 204, which tells an
EventSource to stop. The browser’s own EventSource cannot send a token: use sse.js, \`hopla/client\` or fetch.`;

const follow = [
  { event: 'image', data: examples.imageEvent, id: 7 },
  { event: 'ticket', data: examples.ticketEvent, id: 7 },
  { event: 'progress', data: examples.progress },
];

/** OpenAPI 3.1 has no words for a stream of events: its text is an example, and `x-events` has the schema of each. */
const eventStream = (text: string, events: Json) =>
  answer('The stream', {
    content: { 'text/event-stream': { schema: { type: 'string' }, example: text, 'x-events': events } },
  });

const changes = { image: ref('ImageEvent'), ticket: ref('TicketEvent'), progress: ref('Progress') };

export const progressPaths = {
  '/v1/tickets/{ticketId}/events': {
    parameters: [ticketParameter],
    get: {
      operationId: 'watchTicket',
      tags: ['Progress'],
      summary: 'Watch a ticket live (server-sent events)',
      description: EVENTS,
      parameters: [
        parameter(
          'header',
          'Last-Event-ID',
          'the id seen last: with the current version the snapshot is left out, with that of the end the answer is 204',
          { type: 'string', examples: ['7'] },
        ),
        parameter('query', 'lastEventId', 'the same, for clients that cannot send the header', {
          type: 'string',
          examples: ['12-end'],
        }),
      ],
      responses: {
        200: eventStream(
          examples.eventText([
            { event: 'snapshot', data: examples.ticketDetail, id: 6 },
            ...follow,
            { event: 'end', data: examples.endEvent, id: '12-end' },
          ]),
          { snapshot: ref('TicketDetail'), ...changes, end: ref('EndEvent') },
        ),
        204: answer('The listener has heard the end already'),
        ...problems('unauthorized', 'ticket-not-found', 'too-many-requests', ...ALWAYS, ...OUTAGES),
      },
    },
  },
  '/v1/events': {
    get: {
      operationId: 'watchTickets',
      tags: ['Progress'],
      summary: 'Watch all own tickets on one connection',
      description: 'As for one ticket, without `snapshot` and `end`; every event names its `ticketId`.',
      responses: {
        200: eventStream(examples.eventText(follow), changes),
        ...problems('unauthorized', 'forbidden', 'too-many-requests', ...ALWAYS, ...OUTAGES),
      },
    },
  },
};

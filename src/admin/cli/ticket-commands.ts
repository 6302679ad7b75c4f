import type { Command } from 'commander';
import { z } from 'zod';
import { TicketQuery } from '../../tickets/list.ts';
import { getTicket } from '../operations/find.ts';
import { formatBytes, formatTime } from '../operations/format.ts';
import { openLocalStaging } from '../operations/local-staging.ts';
import { deleteTicket } from '../operations/ticket-delete.ts';
import { type TicketChanges, updateTicket } from '../operations/ticket-update.ts';
import { closeTicket, listAllTickets, showTicket, type TicketDetail } from '../operations/tickets.ts';
import { viewOwnedDetail, viewOwnedTicket } from '../operations/view.ts';
import type { OwnedTicket } from '../search/tickets.ts';
import { imageColumns } from './image-commands.ts';
import { nextPage, parsedBy, seconds, whole, withJson, withYes } from './options.ts';
import { UsageError } from './question.ts';
import type { CommonOptions, Result, Run, Work } from './run.ts';
import { type Column, facts, table } from './table.ts';

const columns: Column<OwnedTicket>[] = [
  { title: 'ID', value: ({ ticket }) => ticket.id },
  { title: 'USER', value: ({ username }) => username, shrink: true },
  { title: 'STATUS', value: ({ ticket }) => ticket.status },
  { title: 'STORED', value: ({ ticket }) => `${ticket.stored}/${ticket.expected}`, align: 'right' },
  { title: 'FAILED', value: ({ ticket }) => ticket.failed, align: 'right' },
  { title: 'BYTES', value: ({ ticket }) => formatBytes(ticket.bytesTotal), align: 'right' },
  { title: 'CREATED (UTC)', value: ({ ticket }) => formatTime(ticket.createdAt) },
  { title: 'EXPIRES (UTC)', value: ({ ticket }) => formatTime(ticket.expiresAt) },
  { title: 'DESCRIPTION', value: ({ ticket }) => ticket.description, shrink: true },
];

/** How long `delete --remote` waits for transfers under way, in seconds. */
const WAIT_SECONDS = 120;

type ListOptions = CommonOptions & {
  user?: string;
  status?: TicketQuery['status'];
  from?: TicketQuery['createdFrom'];
  to?: TicketQuery['createdTo'];
  limit: number;
  cursor?: TicketQuery['cursor'];
};

/** `tickets list|show|update|expire|delete` */
export function ticketCommands(tickets: Command, run: Run): Command {
  addList(tickets, run);

  withJson(tickets.command('show'))
    .description('show a ticket and its images')
    .argument('<id>')
    .action((ticketId: string, options: CommonOptions) =>
      run(options, async (work) => reportDetail(work, await showTicket(work.db, ticketId.toLowerCase()))),
    );

  addUpdate(tickets, run);

  withYes(withJson(tickets.command('expire')))
    .description('close a ticket now: uploads still coming in end, what was received is still stored')
    .argument('<id>')
    .action((ticketId: string, options: CommonOptions) =>
      run(options, async ({ db, by, context, confirm }) => {
        const { ticket, owner } = await getTicket(db, ticketId.toLowerCase());
        const uploading = ticket.claimed - ticket.received;
        await confirm(`Close ticket ${ticket.id} of ${owner.username}? ${uploading} running uploads end.`);
        const closed = await closeTicket(db, by, ticket.id, await openLocalStaging(context.stagingDirectory));
        const json = {
          ...viewOwnedTicket(closed.ticket, owner.username, context.publicUrl),
          changed: closed.changed,
          endedUploads: closed.ended.map(({ id }) => id),
        };
        const text = closed.changed
          ? `ticket ${ticket.id} is now closed; ${closed.ended.length} uploads ended`
          : `ticket ${ticket.id} takes no images anyway: it is ${closed.ticket.status}`;
        return { json, text: () => text };
      }),
    );

  addDelete(tickets, run);
  return tickets;
}

function addList(tickets: Command, run: Run): void {
  const { status, createdFrom, createdTo, limit, cursor } = TicketQuery.shape;
  withJson(tickets.command('list'))
    .description('list tickets, newest first')
    .option('--user <name>', 'of this user only')
    .option('--status <status,…>', 'pending, uploading, processing, completed, expired', parsedBy(status))
    .option('--from <date>', 'created then or later: YYYY-MM-DD (UTC) or an RFC 3339 time', parsedBy(createdFrom))
    .option('--to <date>', 'created then or earlier; a date means all of that day', parsedBy(createdTo))
    .option('--limit <n>', 'rows of one page, 1 to 100', parsedBy(limit), 20)
    .option('--cursor <cursor>', 'where the page begins: what the page before said', parsedBy(cursor))
    .action((options: ListOptions) =>
      run(options, async ({ db, context }) => {
        const { user, from, to, ...query } = options;
        const page = await listAllTickets(db, {
          limit: query.limit,
          status: query.status,
          cursor: query.cursor,
          createdFrom: from,
          createdTo: to,
          ...(user === undefined ? {} : { username: user }),
        });
        const views = page.items.map(({ ticket, username }) => viewOwnedTicket(ticket, username, context.publicUrl));
        return {
          json: { items: views, nextCursor: page.nextCursor },
          text: (width) => table(page.items, columns, width) + nextPage(page.nextCursor),
        };
      }),
    );
}

type UpdateOptions = CommonOptions & {
  description?: string;
  metadata?: string;
  images?: number;
  expiresAt?: Date;
  expiresIn?: number;
};

/** Stays text here: commander takes an option that is null for one without a value. */
const Json = z.string().refine((text) => {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}, 'must be JSON, such as \'{"album": 7}\' or null');
const Time = z.iso
  .datetime({ offset: true, error: 'must be an RFC 3339 time, such as 2026-11-23T18:00:00Z' })
  .transform((text) => new Date(text));

function addUpdate(tickets: Command, run: Run): void {
  withJson(tickets.command('update'))
    .description('change a ticket; what is not named stays')
    .argument('<id>')
    .option('--description <text>', 'an empty one takes it away')
    .option('--metadata <json>', 'an object, replacing all of the old one; null takes it away', parsedBy(Json))
    .option(
      '--images <n>',
      'how many it takes, not fewer than are here; fewer may complete it',
      parsedBy(whole(1, 1000)),
    )
    .option('--expires-at <time>', 'a new expiry; opens an expired ticket again', parsedBy(Time))
    .option('--expires-in <seconds>', 'the same, counted from now', parsedBy(seconds))
    .action((ticketId: string, options: UpdateOptions) =>
      run(options, async (work) => {
        const ticket = await updateTicket(work.db, work.by, ticketId.toLowerCase(), changesOf(options));
        return reportDetail(work, await showTicket(work.db, ticket.id));
      }),
    );
}

function changesOf({ description, metadata, images, expiresAt, expiresIn }: UpdateOptions): TicketChanges {
  if (expiresAt && expiresIn !== undefined) throw new UsageError('Give either --expires-at or --expires-in.');
  const expiry = expiresIn === undefined ? expiresAt : new Date(Date.now() + expiresIn * 1000);
  const changes: TicketChanges = {
    ...(description === undefined ? {} : { description: description || null }),
    ...(metadata === undefined ? {} : { metadata: JSON.parse(metadata) as unknown }),
    ...(images === undefined ? {} : { images }),
    ...(expiry === undefined ? {} : { expiresAt: expiry }),
  };
  if (Object.keys(changes).length > 0) return changes;
  throw new UsageError('Nothing to change: give --description, --metadata, --images, --expires-at or --expires-in.');
}

function addDelete(tickets: Command, run: Run): void {
  withYes(withJson(tickets.command('delete')))
    .description('delete a ticket, its images and their staged files; images not yet stored are lost')
    .argument('<id>')
    .option('--remote', 'remove its images from the storage, too')
    .option('--wait <seconds>', 'with --remote: for transfers under way', parsedBy(whole(0, 3600)), WAIT_SECONDS)
    .action((ticketId: string, options: CommonOptions & { remote?: boolean; wait: number }) =>
      run(options, async ({ db, by, context, confirm, notice, defer }) => {
        const { ticket, owner } = await getTicket(db, ticketId.toLowerCase());
        const { id, stored, claimed } = ticket;
        const fate = options.remote ? 'are removed from the storage' : 'stay in the storage';
        await confirm(
          `Delete ticket ${id} of ${owner.username}? Its ${stored} stored images ${fate}; ${claimed - stored} others are lost.`,
        );
        const storage = options.remote ? await context.storage() : null;
        defer(() => storage?.close());
        const deleted = await deleteTicket(
          {
            db,
            by,
            storage,
            staging: await openLocalStaging(context.stagingDirectory),
            waitMs: options.wait * 1000,
            onWaiting: (count) => notice(`waiting for ${count} transfers that are under way`),
          },
          id,
        );
        if (deleted.otherStaging.length > 0)
          notice(`files in staging area ${deleted.otherStaging.join(', ')} go when its gateway next cleans up`);
        const text = `deleted ticket ${id} with ${deleted.images} images, ${deleted.cancelled} of them not stored`;
        return { json: deleted, text: () => `${text}; stored images ${options.remote ? 'are gone' : 'stay'}` };
      }),
    );
}

async function reportDetail({ context }: Work, detail: TicketDetail): Promise<Result> {
  const staging = await openLocalStaging(context.stagingDirectory);
  const view = await viewOwnedDetail(
    detail,
    context.publicUrl,
    async (image) => (await staging?.sizeOf(image.id)) ?? 0,
  );
  const { ticket, owner, images } = detail;
  const { uploading, received, failed } = view.counts;
  const about = [
    ['ticket', ticket.id],
    ['user', owner.username],
    ['status', ticket.status],
    [
      'images',
      `${ticket.stored} of ${ticket.expected} stored; ${uploading} uploading, ${received} received, ${failed} failed`,
    ],
    ['bytes', `${formatBytes(ticket.bytesStored)} of ${formatBytes(ticket.bytesTotal)} stored`],
    ['description', ticket.description],
    ['metadata', ticket.metadata && JSON.stringify(ticket.metadata)],
    ['created', `${formatTime(ticket.createdAt)} UTC`],
    ['expires', `${formatTime(ticket.expiresAt)} UTC`],
    ['completed', ticket.completedAt && `${formatTime(ticket.completedAt)} UTC`],
    ['version', ticket.version],
  ] as const;
  const listed = (width: number | null) => (images.length > 0 ? `\n\n${table(images, imageColumns, width)}` : '');
  return { json: view, text: (width) => facts(about, width) + listed(width) };
}

import type { Command } from 'commander';
import type { Image } from '../../database/models.ts';
import { plain } from '../../terminal/plain-text.ts';
import type { OffsetOf } from '../../tickets/view.ts';
import { formatBytes, formatTime } from '../operations/format.ts';
import { listImages, type RetryDeps, type RetryOutcome, retryImage, retryImages } from '../operations/images.ts';
import { openLocalStaging } from '../operations/local-staging.ts';
import { openQueue } from '../operations/queue.ts';
import { viewPlacedImage } from '../operations/view.ts';
import { id, nextPage, withJson, withPaging } from './options.ts';
import { UsageError } from './question.ts';
import type { CommonOptions, Result, Run, Work } from './run.ts';
import { type Column, table } from './table.ts';

export const imageColumns: Column<Image>[] = [
  { title: 'ID', value: (image) => image.id },
  { title: 'STATUS', value: (image) => image.status },
  { title: 'SIZE', value: (image) => formatBytes(image.size), align: 'right' },
  { title: 'TRIES', value: (image) => image.attempts, align: 'right' },
  { title: 'SLOT', value: (image) => image.slot, shrink: true },
  { title: 'CREATED (UTC)', value: (image) => formatTime(image.createdAt) },
  { title: 'FILE NAME', value: (image) => image.filename, shrink: true },
  {
    title: 'URL OR ERROR',
    value: (image) => image.url ?? (image.errorCode && `${image.errorCode}: ${image.errorMessage}`),
    shrink: true,
  },
];

type ListOptions = CommonOptions & { ticket: string; limit: number; cursor?: string };
type RetryOptions = CommonOptions & { ticket?: string; all?: boolean };

/** `images list|retry` */
export function imageCommands(images: Command, run: Run): Command {
  withPaging(withJson(images.command('list')), id)
    .description('list the images of a ticket in the order they were begun, ended ones included')
    .requiredOption('--ticket <id>', 'the ticket')
    .action(({ ticket, ...options }: ListOptions) =>
      run(options, async ({ db, context }) => {
        const page = await listImages(db, { ...options, ticketId: ticket.toLowerCase() });
        const staging = await openLocalStaging(context.stagingDirectory);
        const offsetOf: OffsetOf = async (image) => (await staging?.sizeOf(image.id)) ?? 0;
        const views = await Promise.all(page.items.map((image) => viewPlacedImage(image, offsetOf)));
        return {
          json: { items: views, nextCursor: page.nextCursor },
          text: (width) => table(page.items, imageColumns, width) + nextPage(page.nextCursor),
        };
      }),
    );

  withJson(images.command('retry'))
    .description('send failed images to the storage again; tries are counted from zero')
    .argument('[id]', 'one image')
    .option('--ticket <id>', 'every failed image of this ticket')
    .option('--all', 'every failed image there is')
    .action((imageId: string | undefined, options: RetryOptions) =>
      run(options, async (work) => {
        const ways = [imageId, options.ticket, options.all].filter((way) => way !== undefined);
        if (ways.length !== 1) throw new UsageError('Give one of: an image id, --ticket ID, --all.');
        const deps = await openRetry(work);
        if (imageId !== undefined) {
          return reportRetries([{ image: await retryImage(deps, imageId.toLowerCase()), refused: null }]);
        }
        const outcomes: RetryOutcome[] = [];
        for await (const outcome of retryImages(deps, options.ticket?.toLowerCase())) outcomes.push(outcome);
        return reportRetries(outcomes);
      }),
    );
  return images;
}

async function openRetry({ db, by, context, defer }: Work): Promise<RetryDeps> {
  const staging = await openLocalStaging(context.stagingDirectory);
  let opening: ReturnType<typeof openQueue> | undefined;
  const boss = async () => {
    if (!opening) {
      opening = openQueue(await context.databaseUrl(), context.log);
      const opened = await opening;
      defer(() => opened.stop({ graceful: false }));
    }
    return opening;
  };
  return { db, by, staging, boss };
}

/** What could not be retried is told line by line, and by exit code 1; the rest is done all the same. */
function reportRetries(outcomes: RetryOutcome[]): Result {
  const retried = outcomes.flatMap(({ image, refused }) => (refused ? [] : [image]));
  const refused = outcomes.flatMap(({ image, refused }) =>
    refused ? [{ id: image.id, ticketId: image.ticketId, ...refused }] : [],
  );
  const json = { retried: retried.map(({ id, ticketId, status }) => ({ id, ticketId, status })), refused };
  const lines = [
    ...refused.map(({ code, message }) => plain(`not retried: ${code}: ${message}`)),
    `${retried.length} of ${outcomes.length} failed images are on their way again`,
  ];
  return { json, text: () => lines.join('\n'), ...(refused.length > 0 ? { exitCode: 1 } : {}) };
}

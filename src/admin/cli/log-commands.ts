import type { Command } from 'commander';
import { z } from 'zod';
import { auditActions } from '../operations/audit.ts';
import { formatTime } from '../operations/format.ts';
import { changeKeys, type LoggedChange, searchChanges } from '../search/changes.ts';
import { id, nextPage, parsedBy, withJson, withPaging } from './options.ts';
import type { CommonOptions, Run } from './run.ts';
import { type Column, table } from './table.ts';

const columns: Column<LoggedChange>[] = [
  { title: 'WHEN (UTC)', value: ({ at }) => formatTime(at) },
  { title: 'WHO', value: ({ actor }) => actor, shrink: true },
  { title: 'WHAT', value: ({ action }) => action },
  { title: 'TARGET', value: ({ targetId }) => targetId },
  { title: 'AFTER', value: ({ after }) => after && JSON.stringify(after), shrink: true },
];

type ListOptions = CommonOptions & {
  actor?: string;
  action?: LoggedChange['action'];
  target?: string;
  limit: number;
  cursor?: string;
};

const Action = z.enum(auditActions, `must be one of ${auditActions.join(', ')}`);
/** The cursor is the last line's number. */
const Cursor = z.string().regex(/^\d{1,18}$/, 'must be what the page before said');

/** `log list` */
export function logCommands(log: Command, run: Run): Command {
  withPaging(withJson(log.command('list')), Cursor)
    .description('list what admins changed, here and in the panel, newest first')
    .option('--actor <name>', 'by this user of the panel, or by cli:<user of the operating system>')
    .option('--action <action>', 'such as ticket.update', parsedBy(Action))
    .option('--target <id>', 'of this ticket, image, user or token', parsedBy(id))
    .action(({ target, cursor, ...options }: ListOptions) =>
      run(options, async ({ db }) => {
        const { items, next } = await searchChanges(db, {
          ...options,
          text: target,
          after: cursor === undefined ? undefined : changeKeys.map(() => cursor),
        });
        const nextCursor = next?.after[0] ?? null;
        return {
          json: { items, nextCursor },
          text: (width) => table(items, columns, width) + nextPage(nextCursor),
        };
      }),
    );
  return log;
}

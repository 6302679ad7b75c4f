import type { Command } from 'commander';
import { plain } from '../../terminal/plain-text.ts';
import { formatTime } from '../operations/format.ts';
import { endToken, getToken, issueTokenFor, listTokens } from '../operations/tokens.ts';
import { viewToken } from '../operations/view.ts';
import { id, nextPage, parsedBy, seconds, withJson, withPaging, withYes } from './options.ts';
import type { CommonOptions, Run } from './run.ts';
import { type Column, facts, table } from './table.ts';

type Token = Awaited<ReturnType<typeof getToken>>;

const columns: Column<Token>[] = [
  { title: 'ID', value: (token) => token.id },
  { title: 'USER', value: (token) => token.username, shrink: true },
  { title: 'KIND', value: (token) => token.kind },
  { title: 'STATE', value: (token) => viewToken(token).state },
  { title: 'LABEL', value: (token) => token.label, shrink: true },
  { title: 'CREATED (UTC)', value: (token) => formatTime(token.createdAt) },
  { title: 'EXPIRES (UTC)', value: (token) => formatTime(token.expiresAt) },
  { title: 'LAST USED (UTC)', value: (token) => formatTime(token.lastUsedAt) },
  { title: 'TICKET', value: (token) => token.ticketId },
];

type IssueOptions = CommonOptions & { user: string; label?: string; expiresIn?: number; ticket?: string };

/** `tokens issue|list|revoke` */
export function tokenCommands(tokens: Command, run: Run): Command {
  withJson(tokens.command('issue'))
    .description('issue a token; it is shown this once')
    .requiredOption('--user <name>', 'whose token it is')
    .option('--label <text>', 'what it is for')
    .option('--expires-in <seconds>', 'its life; else it ends with its ticket, or never', parsedBy(seconds))
    .option('--ticket <id>', 'make it an upload token, good for this ticket alone')
    .action(({ user, label, expiresIn, ticket, ...options }: IssueOptions) =>
      run(options, async ({ db, by }) => {
        const { token, issued } = await issueTokenFor(db, by, {
          username: user,
          ...(label === undefined ? {} : { label }),
          ...(expiresIn === undefined ? {} : { expiresIn }),
          ...(ticket === undefined ? {} : { ticketId: ticket.toLowerCase() }),
        });
        const about = [
          ['token', token],
          ['id', issued.id],
          ['user', issued.username],
          ['kind', issued.kind],
          ['expires', issued.expiresAt ? `${formatTime(issued.expiresAt)} UTC` : 'never'],
        ] as const;
        const note = 'This is the only time the token is shown.';
        return { json: { ...viewToken(issued), token }, text: () => `${facts(about, null)}\n\n${note}` };
      }),
    );

  withPaging(withJson(tokens.command('list')), id)
    .description('list tokens, newest first; the tokens themselves are not kept')
    .option('--user <name>', 'of this user only')
    .action(({ user, ...options }: CommonOptions & { user?: string; limit: number; cursor?: string }) =>
      run(options, async ({ db }) => {
        const page = await listTokens(db, { ...options, ...(user === undefined ? {} : { username: user }) });
        return {
          json: { items: page.items.map(viewToken), nextCursor: page.nextCursor },
          text: (width) => table(page.items, columns, width) + nextPage(page.nextCursor),
        };
      }),
    );

  withYes(withJson(tokens.command('revoke')))
    .description('end a token')
    .argument('<id>', 'its id, as `tokens list` shows it')
    .action((tokenId: string, options: CommonOptions) =>
      run(options, async ({ db, by, confirm }) => {
        const { id, username, label } = await getToken(db, tokenId.toLowerCase());
        await confirm(`Revoke token ${id} of ${username}${label ? ` (${label})` : ''}?`);
        const { token, changed } = await endToken(db, by, id);
        const text = `token ${id} of ${plain(username)} ${changed ? 'is now' : 'was already'} revoked`;
        return { json: { ...viewToken(token), changed }, text: () => text };
      }),
    );
  return tokens;
}

import { Command } from 'commander';
import { imageCommands } from './image-commands.ts';
import { logCommands } from './log-commands.ts';
import type { Terminal } from './question.ts';
import { type AdminContext, createRun, speakTo } from './run.ts';
import { ticketCommands } from './ticket-commands.ts';
import { tokenCommands } from './token-commands.ts';
import { userCommands } from './user-commands.ts';

/**
 * `hopla admin …`: users, tokens, tickets and images, from a terminal or a script. `open` is called by the command that
 * runs, which closes the context in the end; help needs none.
 */
export function adminCommand(open: () => AdminContext | Promise<AdminContext>, terminal: Terminal = process): Command {
  const run = createRun(open, terminal);
  const admin = speakTo(terminal, new Command('admin'))
    .description('look after users, tokens, tickets and images')
    .addHelpText(
      'after',
      '\nExit codes: 0 done, 1 could not be done or was declined, 2 not understood or needs --yes.',
    );
  userCommands(admin.command('users').description('who may use the gateway'), run);
  tokenCommands(admin.command('tokens').description('what callers authenticate with'), run);
  ticketCommands(admin.command('tickets').description('what images are uploaded to'), run);
  imageCommands(admin.command('images').description('the images of tickets'), run);
  logCommands(admin.command('log').description('what admins changed'), run);
  return admin;
}

import type { Command } from 'commander';
import { plain } from '../../terminal/plain-text.ts';
import { getUser } from '../operations/find.ts';
import { formatTime } from '../operations/format.ts';
import { addUser, changePassword, listUsers, setUserEnabled, signUserOut } from '../operations/users.ts';
import { viewUser } from '../operations/view.ts';
import { nextPage, withJson, withPaging, withYes } from './options.ts';
import { askPassword, readPassword } from './question.ts';
import type { CommonOptions, Run } from './run.ts';
import { type Column, table } from './table.ts';

type User = Awaited<ReturnType<typeof getUser>>;
type PasswordOptions = CommonOptions & { password?: string; passwordStdin?: boolean };

const columns: Column<User>[] = [
  { title: 'NAME', value: (user) => user.username, shrink: true },
  { title: 'STATE', value: (user) => (user.disabledAt ? 'disabled' : 'enabled') },
  { title: 'ADMIN', value: (user) => (user.isAdmin ? 'yes' : 'no') },
  { title: 'PASSWORD', value: (user) => (user.passwordHash ? 'yes' : 'no') },
  { title: 'CREATED (UTC)', value: (user) => formatTime(user.createdAt) },
  { title: 'ID', value: (user) => user.id },
];

/** `users create|list|disable|enable|password|sign-out` */
export function userCommands(users: Command, run: Run): Command {
  withPassword(withJson(users.command('create')))
    .description('add a user; without a password it works with issued tokens only')
    .argument('<name>')
    .option('--admin', 'let it into the admin panel')
    .action((name: string, options: PasswordOptions & { admin?: boolean }) =>
      run(options, async ({ db, by, terminal }) => {
        const password = await readPassword(terminal, options);
        const user = await addUser(db, by, {
          username: name,
          isAdmin: options.admin ?? false,
          ...(password === undefined ? {} : { password }),
        });
        const hint = password === undefined ? `; give it a token with \`tokens issue --user ${user.username}\`` : '';
        return { json: viewUser(user), text: () => `created user ${plain(user.username)}${plain(hint)}` };
      }),
    );

  withPaging(withJson(users.command('list')))
    .description('list users by name')
    .action((options: CommonOptions & { limit: number; cursor?: string }) =>
      run(options, async ({ db }) => {
        const page = await listUsers(db, options);
        return {
          json: { items: page.items.map(viewUser), nextCursor: page.nextCursor },
          text: (width) => table(page.items, columns, width) + nextPage(page.nextCursor && plain(page.nextCursor)),
        };
      }),
    );

  withYes(withJson(users.command('disable')))
    .description('stop a user and all its tokens; what was received still goes to the storage')
    .argument('<name>')
    .action((name: string, options: CommonOptions) =>
      run(options, async ({ db, by, confirm }) => {
        const { username } = await getUser(db, name);
        await confirm(`Disable ${username}? Its tokens stop working within two seconds.`);
        return reportEnabled(await setUserEnabled(db, by, name, false), 'disabled');
      }),
    );

  withJson(users.command('enable'))
    .description('let a disabled user and its tokens work again')
    .argument('<name>')
    .action((name: string, options: CommonOptions) =>
      run(options, async ({ db, by }) => reportEnabled(await setUserEnabled(db, by, name, true), 'enabled')),
    );

  withPassword(withJson(users.command('password')))
    .description('set a password; asks for it when it is not given. Tokens stay valid')
    .argument('<name>')
    .option('--sign-out', 'end the tokens of all logins, too')
    .action((name: string, options: PasswordOptions & { signOut?: boolean }) =>
      run(options, async ({ db, by, terminal }) => {
        await getUser(db, name);
        const password = (await readPassword(terminal, options)) ?? (await askPassword(terminal));
        const { user } = await changePassword(db, by, name, { password, everywhere: options.signOut ?? false });
        return { json: viewUser(user), text: () => `${plain(user.username)} has a new password` };
      }),
    );

  withYes(withJson(users.command('sign-out')))
    .description('end sessions in the panel and the tokens of all logins; with --issued every other token, too')
    .argument('<name>')
    .option('--issued', 'also end tokens that were issued for applications and tickets')
    .action((name: string, options: CommonOptions & { issued?: boolean }) =>
      run(options, async ({ db, by, confirm }) => {
        const { username } = await getUser(db, name);
        const what = options.issued ? 'All its tokens' : 'The tokens of its logins';
        await confirm(`Sign ${username} out everywhere? ${what} stop working within two seconds.`);
        const { user, ended } = await signUserOut(db, by, name, { issued: options.issued ?? false });
        const tokens = `${ended.length} ${ended.length === 1 ? 'token' : 'tokens'}`;
        const text = `${plain(user.username)} is signed out everywhere; ${tokens} ended`;
        return { json: { ...viewUser(user), tokensEnded: ended.length }, text: () => text };
      }),
    );
  return users;
}

function withPassword(command: Command): Command {
  return command
    .option(
      '--password <password>',
      'the password, of at least 12 characters; others on this machine may see it in the list of processes',
    )
    .option('--password-stdin', 'read the password from standard input');
}

function reportEnabled({ user, changed }: { user: User; changed: boolean }, state: string) {
  const text = `${plain(user.username)} ${changed ? 'is now' : 'was already'} ${state}`;
  return { json: { ...viewUser(user), changed }, text: () => text };
}

import { randomBytes } from 'node:crypto';
import type { Database } from '../../database/connection.ts';
import { User } from '../../database/models.ts';
import type { Callers } from '../../identity/callers.ts';
import { LONGEST_PASSWORD } from '../../identity/passwords.ts';
import { HoplaError } from '../../model/errors.ts';
import { isId } from '../../model/ids.ts';
import { addUser, changePassword } from '../operations/users.ts';
import { searchUsers, userKeys, userOrders, userStates } from '../search/users.ts';
import { status, time, timeAndDistance, userLink } from './cells.ts';
import { field } from './form.ts';
import type { Show } from './frame.ts';
import type { PanelContext, PanelRoutes } from './guards.ts';
import { html, type Markup, words } from './html.ts';
import { type Column, choice, filters, list, one, oneOf, positionIn, ROWS, textFilter } from './list.ts';
import { facts, guard, problem } from './page.ts';
import { secretPage } from './secret.ts';
import { leaveNotice, type Session } from './session.ts';
import { goTo } from './sign-in.ts';

const stateOf = (user: User) => status(user.disabledAt ? 'disabled' : 'enabled');

const columns: Column<User>[] = [
  { title: 'Name', value: (user) => userLink(user.id, user.username) },
  { title: 'State', value: stateOf },
  { title: 'Admin', value: (user) => (user.isAdmin ? 'yes' : 'no') },
  { title: 'Password', value: (user) => (user.passwordHash ? 'yes' : 'no') },
  { title: 'Created (UTC)', value: (user) => time(user.createdAt) },
];

type Deps = { db: Database; show: Show };
/** A form that was not obeyed, and why. */
type Refused = { form: URLSearchParams; detail: string };

/** `GET` and `POST /admin/users` */
export function userListRoutes(routes: PanelRoutes, { db, show }: Deps): void {
  const showList = async (ctx: PanelContext, session: Session, refused: Refused | null) => {
    const order = oneOf(ctx, 'order', userOrders) ?? 'name';
    const found = await searchUsers(db, {
      order,
      limit: ROWS,
      after: positionIn(ctx, userKeys[order]),
      state: oneOf(ctx, 'state', userStates),
      text: one(ctx, 'q'),
    });
    show(ctx, session, {
      title: 'Users',
      status: refused ? 422 : 200,
      body: html`${filters(
        ctx,
        html`${textFilter(ctx, 'q', 'Search', 'name or id')}${choice(ctx, 'state', 'State', userStates, 'any')}${choice(ctx, 'order', 'Order', userOrders)}`,
      )}${list(ctx, session, {
        caption: 'Users',
        columns,
        rows: found.items,
        next: found.next,
        bulk: {
          address: '/admin/users/act',
          buttons: [
            { action: 'enable', label: 'Enable' },
            { action: 'disable', label: 'Disable', danger: true },
            { action: 'sign-out', label: 'Sign out everywhere', danger: true },
          ],
          idOf: (user) => user.id,
          nameOf: (user) => user.username,
        },
      })}${creation(session, refused)}`,
    });
  };

  routes.page('/admin/users', (ctx, session) => showList(ctx, session, null));

  routes.form('/admin/users', async (ctx, session, form) => {
    const { password, made } = passwordIn(form);
    const isAdmin = form.get('admin') === 'yes';
    try {
      const user = await addUser(db, session.by, { username: field(form, 'username'), isAdmin, ...password });
      if (made !== undefined) return show(ctx, session, secretOf(user, made));
      await leaveNotice(db, session.secret, { kind: 'done', text: 'The user was created.', lines: [] });
      goTo(ctx, `/admin/users/${user.id}`);
    } catch (error) {
      if (!(error instanceof HoplaError && error.code === 'invalid-request')) throw error;
      await showList(ctx, session, { form, detail: error.message });
    }
  });
}

function creation(session: Session, refused: Refused | null): Markup {
  return html`<h2>Create a user</h2>
<form class="card stack narrow" method="post" action="/admin/users">${guard(session)}${problem(refused?.detail ?? null)}
<label>Name <input name="username" required maxlength="100" autocomplete="off" autocapitalize="none" spellcheck="false" value="${refused?.form.get('username') ?? ''}"></label>
${passwordFields('none')}
<label class="check"><input type="checkbox" name="admin" value="yes"> May use this panel</label>
<p class="actions"><button class="primary">Create</button></p>
</form>`;
}

/** `GET /admin/users/:id` and `POST /admin/users/:id/password` */
export function userRoutes(routes: PanelRoutes, { db, show, callers }: Deps & { callers: Callers }): void {
  const showUser = async (ctx: PanelContext, session: Session, refused: string | null) => {
    const user = await getUserById(db, ctx.params.id ?? '');
    const name = encodeURIComponent(user.username);
    show(ctx, session, {
      title: 'User',
      status: refused === null ? 200 : 422,
      body: html`<div class="columns">
<section class="card stack" aria-label="Who it is">${about(user)}${switchOf(session, user)}${signOutOf(session, user)}</section>
<section class="card" aria-labelledby="password"><h2 id="password">Set a password</h2>${problem(refused)}
<form class="stack" method="post" action="/admin/users/${user.id}/password">${guard(session)}${passwordFields('make')}
<label class="check"><input type="checkbox" name="everywhere" value="yes"> Sign out everywhere: tokens of logins end, too</label>
<p class="muted">Sessions in this panel end. Tokens that were issued stay valid: revoke them one by one.</p>
<p class="actions"><button class="primary">Set the password</button></p></form></section>
</div>
<p><a href="/admin/tickets?user=${name}">Tickets</a> · <a href="/admin/images?user=${name}">Images</a> ·
<a href="/admin/tokens?user=${name}">Tokens</a> · <a href="/admin/tokens/new?user=${name}">Issue a token</a> ·
<a href="/admin/log?q=${user.id}">What admins did with this user</a>${
        user.isAdmin && html` · <a href="/admin/log?actor=${name}">What this user did here</a>`
      }</p>`,
    });
  };

  routes.page('/admin/users/:id', (ctx, session) => showUser(ctx, session, null));

  routes.form('/admin/users/:id/password', async (ctx, session, form) => {
    const { id, username } = await getUserById(db, ctx.params.id ?? '');
    const { password, made } = passwordIn(form);
    try {
      const everywhere = form.get('everywhere') === 'yes';
      const wish = { password: password.password ?? '', everywhere };
      const { user, ended } = await changePassword(db, session.by, username, wish);
      for (const tokenId of ended) callers.forget(tokenId);
      if (made !== undefined) return show(ctx, session, secretOf(user, made));
      await leaveNotice(db, session.secret, { kind: 'done', text: 'The password was set.', lines: [] });
      goTo(ctx, `/admin/users/${id}`);
    } catch (error) {
      if (!(error instanceof HoplaError && error.code === 'invalid-request')) throw error;
      await showUser(ctx, session, error.message);
    }
  });
}

async function getUserById(db: Database, id: string): Promise<User> {
  const user = isId(id) ? await User.query(db).findById(id) : undefined;
  if (user) return user;
  throw new HoplaError('not-found');
}

function about(user: User): Markup {
  return facts([
    ['Name', words(user.username)],
    ['Id', html`<code>${user.id}</code>`],
    ['State', stateOf(user)],
    ['May use this panel', user.isAdmin ? 'yes' : 'no'],
    ['Password', user.passwordHash ? 'yes' : 'no, tokens only'],
    ['Created', timeAndDistance(user.createdAt)],
    ['Changed', timeAndDistance(user.updatedAt)],
    ['Disabled', timeAndDistance(user.disabledAt)],
  ]);
}

function switchOf(session: Session, user: User): Markup | false {
  if (user.id === session.by.userId) return false;
  return html`<form class="actions" method="post" action="/admin/users/act">${guard(session)}
<input type="hidden" name="id" value="${user.id}"><input type="hidden" name="back" value="/admin/users/${user.id}">
${
  user.disabledAt
    ? html`<button class="quiet" name="action" value="enable">Enable</button>`
    : html`<button class="danger" name="action" value="disable">Disable …</button>`
}</form>`;
}

function signOutOf(session: Session, user: User): Markup {
  return html`<form class="actions" method="post" action="/admin/users/act">${guard(session)}
<input type="hidden" name="id" value="${user.id}"><input type="hidden" name="back" value="/admin/users/${user.id}">
<button class="danger" name="action" value="sign-out">Sign out everywhere …</button></form>`;
}

function passwordFields(otherwise: 'none' | 'make'): Markup {
  return html`<fieldset class="stack"><legend>Password</legend>
<label class="check"><input type="radio" name="how" value="make" checked> Make one, and show it once</label>
<label class="check"><input type="radio" name="how" value="given"> This one:</label>
<input type="password" name="password" minlength="12" maxlength="${LONGEST_PASSWORD}" autocomplete="new-password" aria-label="The password, of at least 12 characters">
${otherwise === 'none' && html`<label class="check"><input type="radio" name="how" value="none"> None: works with issued tokens only</label>`}
</fieldset>`;
}

/** 96 random bits, in letters that can be read out on the phone. */
function passwordIn(form: URLSearchParams): { password: { password?: string }; made?: string } {
  const how = form.get('how');
  const typed = form.get('password') ?? '';
  if (how === 'none') return { password: {} };
  // Whoever types one wants that one, whatever is ticked.
  if (how === 'given' || typed !== '') return { password: { password: typed } };
  const made = randomBytes(12)
    .toString('hex')
    .replace(/(.{6})(?=.)/g, '$1-');
  return { password: { password: made }, made };
}

function secretOf(user: User, password: string) {
  return secretPage({
    title: 'New password',
    label: `Password of ${user.username}`,
    secret: password,
    back: html`<a href="/admin/users/${user.id}">To the user</a>`,
  });
}

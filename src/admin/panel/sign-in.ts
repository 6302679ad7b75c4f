import type { Database } from '../../database/connection.ts';
import type { User } from '../../database/models.ts';
import { untilClosed } from '../../http/request.ts';
import type { Routes } from '../../http/router.ts';
import type { PasswordChecks } from '../../identity/password-checks.ts';
import { LONGEST_PASSWORD } from '../../identity/passwords.ts';
import { Credentials } from '../../identity/routes.ts';
import { checkCredentials, holdCredentials } from '../../identity/users.ts';
import { HoplaError } from '../../model/errors.ts';
import { recordChange } from '../operations/audit.ts';
import { field } from './form.ts';
import type { Show } from './frame.ts';
import {
  acceptForm,
  type PanelContext,
  type PanelRoutes,
  type PanelState,
  SESSION_COOKIE,
  setCookie,
} from './guards.ts';
import { html } from './html.ts';
import { problem } from './page.ts';
import { endSession, findSession, formTokenOf, newSecret, startSession } from './session.ts';

export type SignInDeps = {
  db: Database;
  show: Show;
  publicUrl: string | undefined;
  /** The same as for the API, so that guesses count together, whichever door they try. */
  passwordChecks: PasswordChecks;
};

const ADDRESS = '/admin/sign-in';
/** Ties the form to the browser that asked for it, so that nobody is signed in as somebody else by a foreign page. */
const VISITOR_COOKIE = 'hopla_admin_visitor';

/** `GET` and `POST /admin/sign-in`. */
export function signInRoutes(router: Routes<PanelState>, deps: SignInDeps): void {
  const { db, show, publicUrl, passwordChecks } = deps;

  const credentialsIn = async (ctx: PanelContext, username: string, password: string): Promise<User> => {
    if (!Credentials.safeParse({ username, password }).success) throw new HoplaError('invalid-credentials');
    const attempt = { username, address: ctx.ip, signal: untilClosed(ctx.res) };
    return passwordChecks.run(attempt, () => checkCredentials(db, username, password));
  };

  const showForm = (ctx: PanelContext, next: string, refused: { status: number; detail: string } | null) => {
    const visitor = ctx.cookies.get(VISITOR_COOKIE) ?? newSecret();
    setCookie(ctx, publicUrl, { name: VISITOR_COOKIE, value: visitor, path: ADDRESS });
    show(ctx, null, {
      title: 'Sign in',
      status: refused?.status ?? 200,
      body: html`<form class="card narrow stack" method="post" action="${ADDRESS}">
${problem(refused?.detail ?? null)}
<input type="hidden" name="token" value="${formTokenOf(visitor)}">
<input type="hidden" name="next" value="${next}">
<label>User name <input name="username" autocomplete="username" required maxlength="100" autocapitalize="none" spellcheck="false"></label>
<label>Password <input name="password" type="password" autocomplete="current-password" required maxlength="${LONGEST_PASSWORD}"></label>
<button class="primary">Sign in</button>
</form>`,
    });
  };

  router.get(ADDRESS, async (ctx) => {
    const next = ownPath(String(ctx.query.next ?? ''));
    // A link from elsewhere comes without the cookie (SameSite=Strict), and the page reloaded comes with it.
    const secret = ctx.cookies.get(SESSION_COOKIE);
    if (secret && (await findSession(db, secret, false))) return goTo(ctx, next);
    showForm(ctx, next, null);
  });

  router.post(ADDRESS, async (ctx) => {
    const form = await acceptForm(ctx, ctx.cookies.get(VISITOR_COOKIE) ?? newSecret(), publicUrl);
    const username = field(form, 'username');
    const password = form.get('password') ?? '';
    const next = ownPath(field(form, 'next'));
    let user: User;
    try {
      user = await credentialsIn(ctx, username, password);
    } catch (error) {
      if (!(error instanceof HoplaError)) throw error;
      ctx.set(error.headers);
      return showForm(ctx, next, { status: error.status, detail: error.message });
    }
    if (!user.isAdmin)
      return showForm(ctx, next, { status: 403, detail: 'This user is no administrator, so the panel is closed.' });
    const secret = await db.transaction(async (trx) => {
      await holdCredentials(trx, user);
      const by = { name: user.username, userId: user.id };
      await recordChange(trx, by, { action: 'user.sign-in', target: user.id, after: { address: ctx.ip } });
      return startSession(trx, user.id);
    });
    ctx.state.log.info({ user: user.username }, 'signed in to the admin panel');
    setCookie(ctx, publicUrl, { name: SESSION_COOKIE, value: secret, path: '/admin' });
    setCookie(ctx, publicUrl, { name: VISITOR_COOKIE, value: null, path: ADDRESS });
    goTo(ctx, next);
  });
}

/** `POST /admin/sign-out`, for who is signed in. */
export function signOutRoute(routes: PanelRoutes, { db, publicUrl }: SignInDeps): void {
  routes.form('/admin/sign-out', async (ctx, { secret, by }) => {
    await db.transaction(async (trx) => {
      await endSession(trx, secret);
      await recordChange(trx, by, { action: 'user.sign-out', target: by.userId });
    });
    setCookie(ctx, publicUrl, { name: SESSION_COOKIE, value: null, path: '/admin' });
    goTo(ctx, ADDRESS);
  });
}

/** The answer to a form that was obeyed: the browser gets the next page, and reloading that repeats nothing. */
export function goTo(ctx: PanelContext, path: string): void {
  ctx.redirect(path);
  ctx.status = 303;
}

/** A page of the panel and nothing else, whatever a link says. */
export function ownPath(text: string): string {
  return /^\/admin(\/[\w/-]*)?(\?[^\s\\]*)?$/.test(text) && !text.includes('//') ? text : '/admin';
}

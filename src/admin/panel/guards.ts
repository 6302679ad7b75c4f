import type { Database } from '../../database/connection.ts';
import type { State } from '../../http/app.ts';
import type { RouterContext, Routes } from '../../http/router.ts';
import { HoplaError } from '../../model/errors.ts';
import { readForm } from './form.ts';
import { findSession, isFormToken, type Session } from './session.ts';

/** `session` is for error pages; handlers get theirs as an argument. */
export type PanelState = State & { session?: Session };
export type PanelContext = RouterContext<PanelState>;

/** Shows a page to an admin. */
export type PageHandler = (ctx: PanelContext, session: Session) => unknown;
/** Does what a form of an admin asks for. */
export type FormHandler = (ctx: PanelContext, session: Session, form: URLSearchParams) => unknown;

/**
 * What the panel's pages and forms are registered with. A handler gets its session, and a form handler its form, as
 * arguments: nothing but the checks makes them, so that no handler can run before they have passed.
 */
export type PanelRoutes = {
  /** `GET`. A visitor who is not signed in is sent to the sign-in page. */
  page(path: string, handle: PageHandler): void;
  /** `POST`. 401 `unauthorized` without a session, 403 `forbidden` for a form that is not one of the session's own. */
  form(path: string, handle: FormHandler): void;
};

export const SESSION_COOKIE = 'hopla_admin';
/** The script says with this that nobody asked for the page: it looked by itself. */
const UNATTENDED = 'X-Unattended';

export function createPanelRoutes(
  router: Routes<PanelState>,
  { db, publicUrl }: { db: Database; publicUrl: string | undefined },
): PanelRoutes {
  return {
    page(path, handle) {
      router.get(path, async (ctx) => {
        const session = await sessionOf(ctx, db);
        if (session) await handle(ctx, session);
        else askToSignIn(ctx);
      });
    },
    form(path, handle) {
      router.post(path, async (ctx) => {
        const session = await sessionOf(ctx, db);
        if (!session) throw new HoplaError('unauthorized', 'You are not signed in any more. Nothing was changed.');
        await handle(ctx, session, await acceptForm(ctx, session.secret, publicUrl));
      });
    },
  };
}

async function sessionOf(ctx: PanelContext, db: Database): Promise<Session | null> {
  const secret = ctx.cookies.get(SESSION_COOKIE);
  const attended = ctx.get(UNATTENDED) === '';
  const session = secret ? await findSession(db, secret, attended && ctx.method === 'GET') : null;
  if (!session) return null;
  ctx.state.session = session;
  ctx.state.about.user = session.by.name;
  return session;
}

function askToSignIn(ctx: PanelContext): void {
  const query = ctx.path === '/admin' ? '' : `?${new URLSearchParams({ next: ctx.url })}`;
  ctx.redirect(`/admin/sign-in${query}`);
  ctx.status = 303;
}

/** Reads the form, if it is one of ours. Throws 403 `forbidden`. */
export async function acceptForm(
  ctx: PanelContext,
  secret: string,
  publicUrl: string | undefined,
): Promise<URLSearchParams> {
  assertOwnOrigin(ctx, publicUrl);
  const form = await readForm(ctx.req);
  if (!isFormToken(secret, form.get('token') ?? ''))
    throw new HoplaError('forbidden', 'This form is too old or not ours. Nothing was changed; open the page again.');
  return form;
}

/** Browsers tell where a form comes from, always (Fetch standard, "append a request Origin header"). */
function assertOwnOrigin(ctx: PanelContext, publicUrl: string | undefined): void {
  const site = ctx.get('Sec-Fetch-Site');
  const host = URL.parse(ctx.get('Origin'))?.host;
  // Behind a proxy that ends TLS the scheme that is seen here is another: the host decides.
  const own = [ctx.host, publicUrl === undefined ? null : new URL(publicUrl).host];
  if (host !== undefined && own.includes(host) && (site === '' || site === 'same-origin')) return;
  throw new HoplaError('forbidden', 'This form was not sent by a page of this server. Nothing was changed.');
}

/** Sets a cookie of the panel, or takes it away. Behind TLS, whoever ends it, it never travels without. */
export function setCookie(
  ctx: PanelContext,
  publicUrl: string | undefined,
  { name, value, path }: { name: string; value: string | null; path: string },
): void {
  const secure = ctx.secure || publicUrl?.startsWith('https:') ? '; Secure' : '';
  const ended = value === null ? '; Max-Age=0' : '';
  ctx.append('Set-Cookie', `${name}=${value ?? ''}; Path=${path}; HttpOnly; SameSite=Strict${secure}${ended}`);
}

import type { RouterContext } from '@koa/router';
import type { Middleware, Next } from 'koa';
import type { Database } from '../../database/connection.ts';
import { HoplaError } from '../../errors.ts';
import type { State } from '../../http/app.ts';
import { toHoplaError } from '../../http/problem.ts';
import type { PanelAssets } from './assets.ts';
import { readForm } from './form.ts';
import { type Content, html } from './html.ts';
import { page } from './page.ts';
import { findSession, isFormToken, type Session } from './session.ts';

export type PanelState = State & { session: Session; form: URLSearchParams };
export type PanelContext = RouterContext<PanelState>;

export const SESSION_COOKIE = 'hopla_admin';
/** The script says with this that nobody asked for the page: it looked by itself. */
const UNATTENDED = 'X-Unattended';

type Shown = { title: string; body: Content; status?: number };
export type Show = (ctx: PanelContext, shown: Shown) => void;

export function createShow(assets: PanelAssets): Show {
  return (ctx, { title, body, status = 200 }) => {
    ctx.status = status;
    ctx.type = 'text/html; charset=utf-8';
    ctx.body = page({ title, body, session: ctx.state.session ?? null, path: ctx.path, assets });
  };
}

/** Sets what every answer of the panel has, and shows errors as pages. */
export function frame(show: Show, imageOrigins: readonly string[]): Middleware<PanelState, PanelContext> {
  const policy = [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    ["img-src 'self' data:", ...imageOrigins].join(' '),
    "connect-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
  return async (ctx, next) => {
    // The API is for every origin; the panel, which has a cookie, is for its own.
    for (const name of ['Access-Control-Allow-Origin', 'Access-Control-Expose-Headers']) ctx.remove(name);
    ctx.set({
      'Content-Security-Policy': policy,
      'Cache-Control': 'no-store',
      // Not no-referrer: with that, browsers send forms with Origin: null (Fetch standard, "append a request Origin header").
      'Referrer-Policy': 'same-origin',
      'X-Frame-Options': 'DENY',
      'Cross-Origin-Opener-Policy': 'same-origin',
      'Cross-Origin-Resource-Policy': 'same-origin',
    });
    try {
      await next();
    } catch (thrown) {
      showError(ctx, show, thrown);
    }
  };
}

const UNKNOWN = ['not-found', 'ticket-not-found', 'upload-not-found'];

function showError(ctx: PanelContext, show: Show, thrown: unknown): void {
  const error = toHoplaError(thrown);
  if (!error.expose) ctx.state.log.error({ err: error.cause ?? error, code: error.code }, error.title);
  ctx.set(error.headers);
  // Details of what is not there speak to the command line.
  const known = error.expose && !UNKNOWN.includes(error.code);
  show(ctx, {
    status: error.status,
    title: error.code === 'forbidden' ? 'Not allowed' : error.title,
    body: html`${known && error.message !== error.title && html`<p>${error.message}</p>`}
<p class="muted">Code ${error.code}, request ${ctx.state.requestId}</p>
<p><a href="/admin">Back to the overview</a></p>`,
  });
}

/** Lets those pass who are signed in; shows the others where to do that. A form has to come from a page of ours. */
export function requireSession(db: Database, publicUrl: string | undefined): Middleware<PanelState, PanelContext> {
  return async (ctx, next: Next) => {
    const secret = ctx.cookies.get(SESSION_COOKIE);
    const attended = ctx.get(UNATTENDED) === '';
    const session = secret ? await findSession(db, secret, attended && ctx.method === 'GET') : null;
    if (!session) {
      if (ctx.method !== 'GET' && ctx.method !== 'HEAD')
        throw new HoplaError('forbidden', 'You are not signed in any more. Nothing was changed.');
      const query = ctx.path === '/admin' ? '' : `?${new URLSearchParams({ next: ctx.url })}`;
      ctx.redirect(`/admin/sign-in${query}`);
      ctx.status = 303;
      return;
    }
    ctx.state.session = session;
    ctx.state.about.user = session.by.name;
    if (ctx.method === 'POST') {
      await acceptForm(ctx, session.secret, publicUrl);
    }
    await next();
  };
}

/** Reads the form into `ctx.state.form`, if it is one of ours. Throws 403 `forbidden`. */
export async function acceptForm(ctx: PanelContext, secret: string, publicUrl: string | undefined): Promise<void> {
  assertOwnOrigin(ctx, publicUrl);
  const form = await readForm(ctx.req);
  if (!isFormToken(secret, form.get('token') ?? ''))
    throw new HoplaError('forbidden', 'This form is too old or not ours. Nothing was changed; open the page again.');
  ctx.state.form = form;
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

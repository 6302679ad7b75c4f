import type { Area, Context } from '../../http/app.ts';
import type { PanelAssets } from './assets.ts';
import type { PanelState } from './guards.ts';
import { type Content, html } from './html.ts';
import { page } from './page.ts';
import type { Session } from './session.ts';

type Shown = { title: string; body: Content; status?: number };
/** Answers with a whole page; `session` is null for a visitor who is not signed in. */
export type Show = (ctx: Context, session: Session | null, shown: Shown) => void;

export function createShow(assets: PanelAssets): Show {
  return (ctx, session, { title, body, status = 200 }) => {
    ctx.status = status;
    ctx.type = 'text/html; charset=utf-8';
    ctx.body = page({ title, body, session, path: ctx.path, assets });
  };
}

/** What holds for every answer below `/admin`: its headers, and errors as pages. */
export function panelArea(show: Show, imageOrigins: readonly string[]): Area {
  return {
    path: '/admin',
    headers: {
      'Content-Security-Policy': [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        ["img-src 'self' data:", ...imageOrigins].join(' '),
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
      ].join('; '),
      'Cache-Control': 'no-store',
      // Not no-referrer: with that, browsers send forms with Origin: null (Fetch standard, "append a request Origin header").
      'Referrer-Policy': 'same-origin',
      'X-Frame-Options': 'DENY',
      'Cross-Origin-Opener-Policy': 'same-origin',
      'Cross-Origin-Resource-Policy': 'same-origin',
    },
    showError(ctx, error) {
      // Details of what is not there speak to the command line.
      const known = error.expose && !UNKNOWN.includes(error.code);
      show(ctx, (ctx.state as PanelState).session ?? null, {
        status: error.status,
        title: titles[error.code] ?? error.title,
        body: html`${known && error.message !== error.title && html`<p>${error.message}</p>`}
<p class="muted">Code ${error.code}, request ${ctx.state.requestId}</p>
<p><a href="/admin">Back to the overview</a></p>`,
      });
    },
  };
}

const UNKNOWN = ['not-found', 'ticket-not-found', 'upload-not-found'];
/** Where the error's own title speaks of tokens. */
const titles: Record<string, string> = { forbidden: 'Not allowed', unauthorized: 'Not signed in' };

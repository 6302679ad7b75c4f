import type { PgBoss } from 'pg-boss';
import type { Area } from '../../http/app.ts';
import { createRouter, type Routes } from '../../http/router.ts';
import type { Callers } from '../../identity/callers.ts';
import { HoplaError } from '../../model/errors.ts';
import type { Storage } from '../../storage/port.ts';
import { actRoute } from './act.ts';
import { servePanelAssets } from './assets.ts';
import { retryAllRoute } from './failures.ts';
import { createShow, panelArea } from './frame.ts';
import { createPanelRoutes, type PanelState } from './guards.ts';
import { imageRoute } from './image.ts';
import { imageActions, imageListRoute } from './images.ts';
import { logRoute } from './log.ts';
import { type OverviewDeps, overviewRoute } from './overview.ts';
import { type SignInDeps, signInRoutes, signOutRoute } from './sign-in.ts';
import { ticketRoutes } from './ticket.ts';
import { ticketActions } from './ticket-actions.ts';
import { ticketListRoute } from './tickets.ts';
import { tokenIssueRoutes } from './token-issue.ts';
import { tokenActions, tokenRoutes } from './tokens.ts';
import { userActions } from './user-actions.ts';
import { userListRoutes, userRoutes } from './users.ts';

export type PanelDeps = Omit<OverviewDeps, 'show'> &
  Omit<SignInDeps, 'show'> & {
    boss: PgBoss;
    storage: Storage;
    callers: Callers;
    /** Where stored images are shown from. */
    imageOrigins: readonly string[];
  };

/** Everything below `/admin`: pages for admins, with a session of their own that opens nothing else. */
export async function panelRoutes(deps: PanelDeps): Promise<{ router: Routes<PanelState>; area: Area }> {
  const router = createRouter<PanelState>();
  const assets = await servePanelAssets(router);
  const show = createShow(assets);
  const pages = { ...deps, show };
  signInRoutes(router, pages);

  // From here on with a session alone: these routes are registered with nothing but `routes`.
  const routes = createPanelRoutes(router, deps);
  signOutRoute(routes, pages);
  overviewRoute(routes, pages);
  retryAllRoute(routes, pages);
  for (const kind of [ticketActions(deps), imageActions(deps), userActions(deps), tokenActions(deps)])
    actRoute(routes, pages, kind);
  ticketListRoute(routes, pages);
  ticketRoutes(routes, pages);
  imageListRoute(routes, pages);
  imageRoute(routes, pages);
  userListRoutes(routes, pages);
  userRoutes(routes, pages);
  tokenIssueRoutes(routes, pages);
  tokenRoutes(routes, pages);
  logRoute(routes, pages);
  routes.page('/admin/{*rest}', () => {
    throw new HoplaError('not-found');
  });
  return { router, area: panelArea(show, deps.imageOrigins) };
}

import Router from '@koa/router';
import type { PgBoss } from 'pg-boss';
import { HoplaError } from '../../errors.ts';
import type { State } from '../../http/app.ts';
import type { Callers } from '../../identity/callers.ts';
import type { RemoteStorage } from '../ticket-delete.ts';
import { actRoute } from './act.ts';
import { servePanelAssets } from './assets.ts';
import { createShow, frame, type PanelState, requireSession } from './guards.ts';
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
    storage: RemoteStorage;
    callers: Callers;
    /** Where stored images are shown from. */
    imageOrigins: readonly string[];
  };

/** Everything below `/admin`: pages for admins, with a session of their own that opens nothing else. */
export async function panelRoutes(deps: PanelDeps): Promise<Router<State>> {
  const router = new Router<PanelState>({ prefix: '/admin' });
  const assets = await servePanelAssets(router as unknown as Router<State>);
  const show = createShow(assets);
  const pages = { ...deps, show };

  router.use(frame(show, deps.imageOrigins));
  signInRoutes(router, pages);
  router.use(requireSession(deps.db, deps.publicUrl));
  signOutRoute(router, pages);
  overviewRoute(router, pages);
  for (const kind of [ticketActions(deps), imageActions(deps), userActions(deps), tokenActions(deps)])
    actRoute(router, pages, kind);
  ticketListRoute(router, pages);
  ticketRoutes(router, pages);
  imageListRoute(router, pages);
  imageRoute(router, pages);
  userListRoutes(router, pages);
  userRoutes(router, pages);
  tokenIssueRoutes(router, pages);
  tokenRoutes(router, pages);
  logRoute(router, pages);
  router.get('/{*rest}', () => {
    throw new HoplaError('not-found');
  });
  return router as unknown as Router<State>;
}

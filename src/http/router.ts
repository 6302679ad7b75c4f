import Router, { type RouterContext } from '@koa/router';
import type { Middleware } from 'koa';
import type { State } from './app.ts';

/**
 * A table of routes, each registered with its whole path.
 *
 * `use` and `prefix` are missing on purpose: @koa/router matches the middleware of a prefix by other rules than the routes
 * below it, so that `/ADMIN/log` once reached a handler past its guard.
 */
export type Routes<S = State> = Pick<Router<S>, 'get' | 'post' | 'delete' | 'options' | 'register' | 'routes'>;

export type { RouterContext };

/** One route: `path` has `:parameters`. */
export type Route = { methods: readonly string[]; path: string };

/** Makes a table of routes that match exactly: letter case and slashes included. */
export function createRouter<S = State>(): Routes<S> {
  return new Router<S>({ sensitive: true, strict: true });
}

/** Every route among the middleware of an app. */
export function routesOf(middleware: readonly Middleware<State>[]): Route[] {
  return middleware.flatMap((dispatch) => {
    const stack = 'router' in dispatch && dispatch.router instanceof Router ? dispatch.router.stack : [];
    return stack.map(({ methods, path }) => ({ methods, path: String(path) }));
  });
}

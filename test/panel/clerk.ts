import { startSession } from '../../src/admin/panel/session.ts';
import { createUser } from '../../src/identity/users.ts';
import type { TestGateway } from '../support/gateway.ts';

/** A page as it came; `location` is where a form leads to. */
export type Got = { status: number; headers: Headers; text: string; location: string | null };
export type Fields = [string, string][] | Record<string, string>;

/** Somebody with a browser that keeps cookies and sends forms as browsers do. */
export type Clerk = {
  cookies: Map<string, string>;
  get(path: string, headers?: Record<string, string>): Promise<Got>;
  /** Sends a form with the token of the page at `from`. Headers of `null` are left out. */
  send(path: string, fields: Fields, more?: { from?: string; headers?: Record<string, string | null> }): Promise<Got>;
  signIn(username: string, password: string): Promise<Got>;
};

export const PASSWORD = 'correct horse battery';

export function createClerk(url: string): Clerk {
  const cookies = new Map<string, string>();
  const ask = async (path: string, init: RequestInit): Promise<Got> => {
    const headers = new Headers(init.headers);
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    if (cookie) headers.set('Cookie', cookie);
    const response = await fetch(new URL(path, url), { ...init, headers, redirect: 'manual' });
    for (const line of response.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      if (/Max-Age=0/.test(line)) cookies.delete(name);
      else cookies.set(name, value);
    }
    return {
      status: response.status,
      headers: response.headers,
      text: await response.text(),
      location: response.headers.get('Location'),
    };
  };
  const clerk: Clerk = {
    cookies,
    get: (path, headers = {}) => ask(path, { headers }),
    async send(path, fields, { from = '/admin/tokens/new', headers = {} } = {}) {
      const form = new URLSearchParams({ token: tokenIn((await clerk.get(from)).text) });
      for (const [name, value] of Array.isArray(fields) ? fields : Object.entries(fields)) form.append(name, value);
      const all = { Origin: new URL(url).origin, ...headers };
      const sent = Object.entries(all).flatMap(([name, value]): [string, string][] =>
        value === null ? [] : [[name, value]],
      );
      return ask(path, { method: 'POST', body: form, headers: sent });
    },
    signIn: (username, password) => clerk.send('/admin/sign-in', { username, password }, { from: '/admin/sign-in' }),
  };
  return clerk;
}

export function tokenIn(page: string): string {
  return /name="token" value="([^"]+)"/.exec(page)?.[1] ?? '';
}

/** An admin of this gateway, with a session but without a password: hashing one takes half a second. */
export async function hireAdmin(gateway: TestGateway, username: string): Promise<Clerk & { id: string }> {
  const { id } = await createUser(gateway.db, { username, isAdmin: true });
  const clerk = createClerk(gateway.url);
  clerk.cookies.set('hopla_admin', await startSession(gateway.db, id));
  return { ...clerk, id };
}

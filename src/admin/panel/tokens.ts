import type { Database } from '../../database/connection.ts';
import type { Callers } from '../../identity/callers.ts';
import { endToken, getToken, type OwnedToken, ownedTokens } from '../operations/tokens.ts';
import { viewToken } from '../operations/view.ts';
import { searchTokens, tokenKeys, tokenOrders, tokenStates } from '../search/tokens.ts';
import type { Kind } from './act.ts';
import { shortId, status, time, timeAndDistance, userLink } from './cells.ts';
import type { Show } from './frame.ts';
import type { PanelRoutes } from './guards.ts';
import { type Content, html, words } from './html.ts';
import { type Column, choice, filters, list, one, oneOf, positionIn, ROWS, textFilter, userIn } from './list.ts';
import { facts, guard } from './page.ts';

const columns: Column<OwnedToken>[] = [
  {
    title: 'Token',
    value: ({ id, label }) =>
      html`<a href="/admin/tokens/${id}">${label ? words(label) : html`<code>${shortId(id)}</code>`}</a>`,
  },
  { title: 'User', value: (token) => userLink(token.userId, token.username) },
  { title: 'Kind', value: (token) => token.kind },
  { title: 'State', value: (token) => status(viewToken(token).state) },
  { title: 'Created (UTC)', value: (token) => time(token.createdAt) },
  { title: 'Expires (UTC)', value: (token) => (token.expiresAt ? time(token.expiresAt) : 'never') },
  { title: 'Last used (UTC)', value: (token) => time(token.lastUsedAt) },
];

type Deps = { db: Database; show: Show };
const kinds = ['user', 'upload', 'both'] as const;

/** `GET /admin/tokens`, `GET /admin/tokens/:id` */
export function tokenRoutes(routes: PanelRoutes, { db, show }: Deps): void {
  routes.page('/admin/tokens', async (ctx, session) => {
    const user = await userIn(ctx, db);
    const text = one(ctx, 'q');
    // Every ticket makes upload tokens: they are shown to who asks for them, or for something of theirs.
    const kind = oneOf(ctx, 'kind', kinds) ?? (text === undefined ? 'user' : 'both');
    const found =
      user === null
        ? { items: [], next: null }
        : await searchTokens(db, {
            order: oneOf(ctx, 'order', tokenOrders),
            limit: ROWS,
            after: positionIn(ctx, tokenKeys),
            kind: kind === 'both' ? undefined : kind,
            state: oneOf(ctx, 'state', tokenStates),
            userId: user?.id,
            text,
          });
    show(ctx, session, {
      title: 'Tokens',
      body: html`<p class="above"><a class="button" href="/admin/tokens/new">Issue a token</a></p>
${filters(
  ctx,
  html`${textFilter(ctx, 'q', 'Search', 'label, id of token or ticket')}
${textFilter(ctx, 'user', 'User', 'whole name')}
${choice(ctx, 'kind', 'Kind', kinds)}
${choice(ctx, 'state', 'State', tokenStates, 'any')}
${choice(ctx, 'order', 'Order', tokenOrders)}`,
)}${list(ctx, session, {
  caption: 'Tokens',
  columns,
  rows: found.items,
  next: found.next,
  bulk: {
    address: '/admin/tokens/act',
    buttons: [{ action: 'revoke', label: 'Revoke', danger: true }],
    idOf: (token) => token.id,
    nameOf: tokenName,
  },
})}`,
    });
  });

  routes.page('/admin/tokens/:id', async (ctx, session) => {
    const token = await getToken(db, ctx.params.id ?? '');
    const back = `/admin/tokens/${token.id}`;
    show(ctx, session, {
      title: 'Token',
      body: html`<section class="card stack" aria-label="What it is">${about(token)}${
        !token.revokedAt &&
        html`<form class="actions" method="post" action="/admin/tokens/act">${guard(session)}
<input type="hidden" name="id" value="${token.id}"><input type="hidden" name="back" value="${back}">
<button class="danger" name="action" value="revoke">Revoke …</button></form>`
      }</section>
<p><a href="/admin/log?q=${token.id}">What admins did with it</a></p>`,
    });
  });
}

function about(token: OwnedToken): Content {
  return facts([
    ['Label', words(token.label)],
    ['Id', html`<code>${token.id}</code>`],
    ['User', userLink(token.userId, token.username)],
    ['Kind', token.kind === 'user' ? 'user token: everything that the user owns' : 'upload token: one ticket'],
    [
      'Ticket',
      token.ticketId
        ? html`<a href="/admin/tickets/${token.ticketId}"><code>${token.ticketId}</code></a>`
        : html`<span class="muted">–</span>`,
    ],
    ['State', status(viewToken(token).state)],
    ['Created', timeAndDistance(token.createdAt)],
    ['Expires', token.expiresAt ? timeAndDistance(token.expiresAt) : 'never'],
    ['Last used', timeAndDistance(token.lastUsedAt)],
    ['Revoked', timeAndDistance(token.revokedAt)],
  ]);
}

const tokenName = ({ username, label, id }: OwnedToken) => `${username}: ${label ?? shortId(id)}`;

export function tokenActions({ db, callers }: { db: Database; callers: Callers }): Kind {
  return {
    name: 'tokens',
    singular: 'token',
    async describe(ids) {
      const tokens = await ownedTokens(db).whereIn('tokens.id', ids).castTo<OwnedToken[]>();
      return new Map(tokens.map((token) => [token.id, tokenName(token)]));
    },
    actions: {
      revoke: {
        done: 'revoked',
        question: {
          title: 'Revoke tokens?',
          text: 'Whoever uses them is shut out at once, and for good.',
          button: 'Revoke',
        },
        async perform(id, by) {
          const { changed } = await endToken(db, by, id);
          callers.forget(id);
          return changed ? undefined : 'was revoked already';
        },
      },
    },
  };
}

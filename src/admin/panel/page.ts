import type { PanelAssets } from './assets.ts';
import { type Content, html, type Markup, words } from './html.ts';
import { formTokenOf, type Session } from './session.ts';

const sections = [
  ['/admin', 'Overview'],
  ['/admin/tickets', 'Tickets'],
  ['/admin/images', 'Images'],
  ['/admin/users', 'Users'],
  ['/admin/tokens', 'Tokens'],
  ['/admin/log', 'Audit log'],
] as const;

export type PageParts = { title: string; body: Content; session: Session | null; path: string; assets: PanelAssets };

/** A whole page. Everything in it works without the script. */
export function page({ title, body, session, path, assets }: PageParts): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>${title} · hopla admin</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="${assets.style}">
<script type="module" src="${assets.script}"></script>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header class="top">
<a class="brand" href="/admin">hopla <span>admin</span></a>
${session && account(session)}
</header>
${session && navigation(path)}
<main id="main" tabindex="-1">
${session?.notice && noticeOf(session.notice)}
<h1>${title}</h1>
${body}
</main>
</body>
</html>
`.toString();
}

function account(session: Session): Markup {
  return html`<form class="account" method="post" action="/admin/sign-out">${guard(session)}
<a href="/admin/users/${session.by.userId}">${words(session.by.name)}</a>
<button class="quiet">Sign out</button>
</form>`;
}

function navigation(path: string): Markup {
  const current = (section: string) => path === section || (section !== '/admin' && path.startsWith(`${section}/`));
  return html`<nav aria-label="Sections"><ul>${sections.map(
    ([section, name]) =>
      html`<li><a href="${section}"${current(section) && html` aria-current="page"`}>${name}</a></li>`,
  )}</ul></nav>`;
}

function noticeOf({ kind, text, lines }: NonNullable<Session['notice']>): Markup {
  return html`<div class="notice ${kind}" role="${kind === 'done' ? 'status' : 'alert'}"><p>${text}</p>${
    lines.length > 0 && html`<ul>${lines.map((line) => html`<li>${words(line)}</li>`)}</ul>`
  }</div>`;
}

/** The hidden field without which no form is obeyed. */
export function guard(session: Session): Markup {
  return html`<input type="hidden" name="token" value="${formTokenOf(session.secret)}">`;
}

/** Names and values. */
export function facts(values: readonly (readonly [string, Content])[]): Markup {
  return html`<dl class="facts">${values.map(
    ([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`,
  )}</dl>`;
}

export function problem(text: string | null): Content {
  return text !== null && html`<p class="notice problem" role="alert">${text}</p>`;
}

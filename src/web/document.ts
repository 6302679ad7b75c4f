import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { type Assets, importMapOf, pathOf } from './assets.ts';

/** A whole HTML page and the security policy that goes with it. */
export type HtmlDocument = { html: string; etag: string; policy: string };

export type PageSettings = {
  /** Origins that stored images come from; the page shows them as thumbnails. */
  imageOrigins: readonly string[];
  /** Origins besides the page's own that uploads go to. */
  uploadOrigins: readonly string[];
  maxImageBytes: number;
  /** What the file chooser offers, as in `accept`. */
  accept: string;
};

/** Reads `page/index.html` and fills in the import map (`{}` there), the addresses of its files, and settings. */
export async function uploadPage(assets: Assets, settings: PageSettings): Promise<HtmlDocument> {
  const template = await readFile(new URL('page/index.html', import.meta.url), 'utf8');
  const importMap = importMapOf(assets);
  const values: Record<string, string> = {
    maxImageBytes: `${settings.maxImageBytes}`,
    accept: escapeHtml(settings.accept),
  };
  const html = template
    .replace('>{}<', `>${importMap}<`)
    .replace(/\{\{(\w+)(?: ([\w.-]+))?\}\}/g, (_whole, key: string, name: string | undefined) =>
      key === 'asset' && name ? pathOf(assets, name) : (values[key] ?? ''),
    );
  return document(html, {
    'script-src': `'self' '${integrityOf(importMap)}'`,
    'style-src': "'self'",
    // Previews are blobs; the icons inside Uppy's style sheet are data.
    'img-src': ["'self'", 'blob:', 'data:', ...settings.imageOrigins].join(' '),
    'media-src': 'blob:',
    'connect-src': ["'self'", ...settings.uploadOrigins].join(' '),
  });
}

/** A page of text that runs nothing. */
export function textPage(assets: Assets, title: string, body: string): HtmlDocument {
  const html = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)} · hopla</title>
<link rel="icon" href="${pathOf(assets, 'icon.svg')}">
<link rel="stylesheet" href="${pathOf(assets, 'style.css')}">
</head>
<body class="text-page">
<header class="top"><a class="brand" href="/">hopla</a></header>
<main class="text">
${body}
</main>
<footer class="foot"><a href="/problems">All error codes</a> <a href="/docs">API for developers</a></footer>
</body>
</html>
`;
  return document(html, { 'style-src': "'self'", 'img-src': "'self'" });
}

/** Text for HTML, in elements and in quoted attributes. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

function document(html: string, directives: Record<string, string>): HtmlDocument {
  const policy = {
    'default-src': "'none'",
    ...directives,
    'base-uri': "'none'",
    // Forms are read by the page's modules and never sent by the browser.
    'form-action': "'none'",
    'frame-ancestors': "'none'",
  };
  return {
    html,
    etag: `"${createHash('sha256').update(html).digest('base64url').slice(0, 16)}"`,
    policy: Object.entries(policy)
      .map(([name, value]) => `${name} ${value}`)
      .join('; '),
  };
}

function integrityOf(script: string): string {
  return `sha256-${createHash('sha256').update(script).digest('base64')}`;
}

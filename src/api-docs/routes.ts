import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { brotliCompress, constants } from 'node:zlib';
import type { State } from '../http/app.ts';
import { createRouter, type Routes } from '../http/router.ts';
import { HoplaError } from '../model/errors.ts';

/** What the page is made of: swagger-ui-dist's own files, and ours beside this one. */
const sources = {
  'viewer.js': 'swagger-ui-dist/swagger-ui-bundle.js',
  'viewer.css': 'swagger-ui-dist/swagger-ui.css',
  'page.js': './page.js',
  'page.css': './page.css',
} as const;

type File = { path: string; hash: string; type: string; bytes: Buffer };

/** The viewer sets styles through the CSSOM and shows icons as data; nothing inline, nothing evaluated, no other host. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** `GET /docs`: the OpenAPI document for people, who may try each call; `GET /docs/<hash>/<name>`, the viewer. */
export function docsRoutes(): Routes<State> {
  // When first asked for: 1.9 MB that most processes never serve.
  let loading: Promise<Map<string, File>> | undefined;
  const load = () => {
    loading ??= loadFiles();
    return loading;
  };
  const compressed = new Map<string, Promise<Buffer>>();
  const router = createRouter<State>();

  router.get('/docs', async (ctx) => {
    ctx.set({
      'Content-Security-Policy': POLICY,
      'Referrer-Policy': 'no-referrer',
      'X-Content-Type-Options': 'nosniff',
      'X-Frame-Options': 'DENY',
      'Cross-Origin-Opener-Policy': 'same-origin',
      'Cache-Control': 'no-cache',
    });
    ctx.type = 'text/html; charset=utf-8';
    ctx.body = pageOf(await load());
  });

  router.get('/docs/:hash/:name', async (ctx) => {
    const file = (await load()).get(ctx.params.name ?? '');
    if (!file) throw new HoplaError('not-found');
    ctx.vary('Accept-Encoding');
    ctx.set('X-Content-Type-Options', 'nosniff');
    // A page of another version asks for another hash: it gets what there is, and does not keep it.
    ctx.set('Cache-Control', ctx.params.hash === file.hash ? 'public, max-age=31536000, immutable' : 'no-cache');
    ctx.type = file.type;
    if (ctx.acceptsEncodings('br', 'identity') !== 'br') {
      ctx.body = file.bytes;
      return;
    }
    // Quality 5: all of it in a quarter of a second, once.
    const made =
      compressed.get(file.path) ??
      promisify(brotliCompress)(file.bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 5 } });
    compressed.set(file.path, made);
    ctx.set('Content-Encoding', 'br');
    ctx.body = await made;
  });

  return router;
}

async function loadFiles(): Promise<Map<string, File>> {
  const files = Object.entries(sources).map(async ([name, source]): Promise<[string, File]> => {
    const bytes = await readFile(fileURLToPath(import.meta.resolve(source)));
    const hash = createHash('sha256').update(bytes).digest('base64url').slice(0, 16);
    const type = name.endsWith('.js') ? 'text/javascript; charset=utf-8' : 'text/css; charset=utf-8';
    return [name, { path: `/docs/${hash}/${name}`, hash, type, bytes }];
  });
  return new Map(await Promise.all(files));
}

function pageOf(files: Map<string, File>): string {
  const path = (name: keyof typeof sources) => files.get(name)?.path ?? '';
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>API · hopla</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="${path('viewer.css')}">
<link rel="stylesheet" href="${path('page.css')}">
</head>
<body>
<header><a href="/">hopla</a></header>
<div id="viewer"></div>
<noscript>This page needs JavaScript. The same is in <a href="/openapi.json">/openapi.json</a>.</noscript>
<script src="${path('viewer.js')}"></script>
<script src="${path('page.js')}"></script>
</body>
</html>
`;
}

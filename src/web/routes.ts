import type { State } from '../http/app.ts';
import { createRouter, type Routes } from '../http/router.ts';
import { HoplaError, isErrorCode } from '../model/errors.ts';
import { pickerTypes } from '../model/image-kinds.ts';
import type { ImageLimits } from '../model/image-limits.ts';
import { loadAssets } from './assets.ts';
import { type HtmlDocument, textPage, uploadPage } from './document.ts';
import { problemBody, problemList, problemTitle } from './problem-page.ts';

export type WebSettings = {
  /** Origins of stored images: the page may show images from there and from nowhere else. */
  imageOrigins: readonly string[];
  /** Base of the URLs handed to clients, when it is not taken from each request. */
  publicUrl: string | undefined;
  limits: Pick<ImageLimits, 'bytes'>;
  acceptedTypes: readonly string[];
};

/** `immutable` addresses contain a hash of what they serve. */
const FOREVER = 'public, max-age=31536000, immutable';
const ASK_AGAIN = 'no-cache';

/**
 * `GET /`, the upload page; `GET /assets/<hash>/<name>`, its files; `GET /problems` and
 * `GET /problems/<code>`, what an error means.
 */
export async function webRoutes(settings: WebSettings): Promise<Routes<State>> {
  const assets = await loadAssets();
  const makePage = (maxImageBytes: number) =>
    uploadPage(assets, {
      imageOrigins: settings.imageOrigins,
      uploadOrigins: settings.publicUrl ? [new URL(settings.publicUrl).origin] : [],
      maxImageBytes,
      accept: pickerTypes(settings.acceptedTypes),
    });
  let page = { bytes: settings.limits.bytes, document: await makePage(settings.limits.bytes) };
  const router = createRouter<State>();

  router.get('/', async (ctx) => {
    const { bytes } = settings.limits;
    if (page.bytes !== bytes) page = { bytes, document: await makePage(bytes) };
    sendDocument(ctx, page.document);
  });

  router.get('/assets/:hash/:name', async (ctx) => {
    const asset = assets.get(ctx.params.name ?? '');
    if (!asset) throw new HoplaError('not-found');
    const accepted = ctx.acceptsEncodings('br', 'gzip', 'identity');
    const encoding = accepted === 'br' || accepted === 'gzip' ? accepted : 'identity';
    ctx.vary('Accept-Encoding');
    // A page of another version asks for another hash: it gets what there is, and does not keep it.
    ctx.set('Cache-Control', ctx.params.hash === asset.hash ? FOREVER : ASK_AGAIN);
    ctx.status = 200;
    ctx.etag = `"${asset.hash}-${encoding}"`;
    ctx.type = asset.type;
    if (encoding !== 'identity') ctx.set('Content-Encoding', encoding);
    if (ctx.fresh) ctx.status = 304;
    else ctx.body = await asset.encoded(encoding);
  });

  router.get('/problems', (ctx) => sendDocument(ctx, textPage(assets, 'Error codes', problemList())));

  router.get('/problems/:code', (ctx) => {
    const code = ctx.params.code ?? '';
    if (!isErrorCode(code)) throw new HoplaError('not-found');
    sendDocument(ctx, textPage(assets, problemTitle(code), problemBody(code)));
  });

  return router;
}

type Answering = {
  status: number;
  etag: string;
  type: string;
  fresh: boolean;
  body: unknown;
  set(headers: Record<string, string>): void;
};

function sendDocument(ctx: Answering, { html, etag, policy }: HtmlDocument): void {
  ctx.set({
    'Content-Security-Policy': policy,
    'Referrer-Policy': 'no-referrer',
    'X-Content-Type-Options': 'nosniff',
    'X-Frame-Options': 'DENY',
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Permissions-Policy': 'camera=(self), microphone=(), geolocation=()',
    'Cache-Control': ASK_AGAIN,
  });
  ctx.status = 200;
  ctx.etag = etag;
  ctx.type = 'text/html; charset=utf-8';
  if (ctx.fresh) ctx.status = 304;
  else ctx.body = html;
}

import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Routes } from '../../http/router.ts';
import type { PanelState } from './guards.ts';

/** The addresses of the panel's files; each contains a hash of the file, so that it may be kept for ever. */
export type PanelAssets = { style: string; script: string };

const types = { 'panel.css': 'text/css; charset=utf-8', 'panel.js': 'text/javascript; charset=utf-8' };

/** `GET /admin/assets/<hash>/<name>`: style and script, which are no secret. */
export async function servePanelAssets(router: Routes<PanelState>): Promise<PanelAssets> {
  const serve = async (name: keyof typeof types) => {
    const bytes = await readFile(new URL(`browser/${name}`, import.meta.url));
    const path = `/admin/assets/${createHash('sha256').update(bytes).digest('base64url').slice(0, 16)}/${name}`;
    router.get(path, (ctx) => {
      ctx.set('Cache-Control', 'public, max-age=31536000, immutable');
      ctx.type = types[name];
      ctx.body = bytes;
    });
    return path;
  };
  return { style: await serve('panel.css'), script: await serve('panel.js') };
}

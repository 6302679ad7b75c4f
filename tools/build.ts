/**
 * Builds what a package ships into `dist/`: JavaScript, declarations and source maps of the TypeScript, by `tsc`, and
 * copies of all other files of `src/`. Node strips no types below `node_modules`, so a package cannot run its sources.
 *
 *     npm run build
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../', import.meta.url));
const dist = join(root, 'dist');

/** The project of the modules for browsers, with the types of browsers. */
const BROWSER_PROJECT = 'tsconfig.browser.json';
const EMIT = ['--noEmit', 'false', '--outDir', 'dist', '--rootDir', '.', '--rewriteRelativeImportExtensions'];

rmSync(dist, { recursive: true, force: true });
compile(['-p', 'tsconfig.build.json']);
if (existsSync(join(root, BROWSER_PROJECT))) compile(['-p', BROWSER_PROJECT, ...EMIT]);
copyAssets();
pointToJavaScript(join(dist, 'package.json'));

function compile(arguments_: string[]): void {
  const { status } = spawnSync('tsc', arguments_, { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(1);
}

function copyAssets(): void {
  for (const file of globSync('src/**/*.{html,css,svg,js,d.ts}', { cwd: root })) {
    const target = join(dist, file);
    mkdirSync(dirname(target), { recursive: true });
    copyFileSync(join(root, file), target);
  }
}

/** Modules in `dist/` import by names of the package, which the manifest in `dist/` resolves to files: to `.js` files there. */
function pointToJavaScript(manifest: string): void {
  const text = readFileSync(manifest, 'utf8');
  writeFileSync(manifest, text.replaceAll(/("\.\/[^"]+?)(?<!\.d)\.ts"/g, '$1.js"'));
}

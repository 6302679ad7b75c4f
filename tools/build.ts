/**
 * Builds what a package ships into `dist/`: JavaScript, declarations and source maps of the TypeScript, by `tsc`, and
 * every other file of `src/` as it is. Node strips no types below `node_modules`, so a package cannot run its sources.
 *
 *     npm run build
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, globSync, mkdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../', import.meta.url));
const dist = join(root, 'dist');

/** Projects whose output belongs into the package: the server, then what runs in browsers. */
const PROJECTS = ['tsconfig.build.json'];

rmSync(dist, { recursive: true, force: true });
for (const project of PROJECTS) {
  const { status } = spawnSync('tsc', ['-p', project], { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(1);
}
for (const file of globSync('src/**/*.{html,css,svg,js,d.ts}', { cwd: root })) {
  const target = join(dist, file);
  mkdirSync(dirname(target), { recursive: true });
  copyFileSync(join(root, file), target);
}

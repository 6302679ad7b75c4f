/**
 * Makes the packages ready for the npm registry: packs them, installs the tarballs in an empty folder, and walks through
 * them with the tests in `test/package`. The same tarballs are then published.
 *
 *     npm run release -- --dry-run        all but the publishing
 *     npm run release -- --tag next       publishes under a tag of the registry; `latest` is the default of npm install
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = fileURLToPath(new URL('../', import.meta.url));
/** The packages in order of publishing: hopla last, whose documentation names the others. */
const PACKAGES = [...globSync(join('packages', '*', 'package.json'), { cwd: root }).map(dirname), '.'];

type Manifest = { name: string; version: string };

const { values } = parseArgs({ options: { 'dry-run': { type: 'boolean' }, tag: { type: 'string' } } });
const manifests = PACKAGES.map(readManifest);
for (const { name, version } of manifests) say(`${name} ${version}`);
const troubles = findTroubles(manifests);
for (const trouble of troubles) say(`not ready: ${trouble}`);
try {
  if (values.tag === undefined && !values['dry-run'])
    throw new Error('This would be published. Say under which tag (--tag next, --tag latest), or --dry-run.');
  if (troubles.length > 0 && !values['dry-run']) throw new Error('Nothing was published.');
  release(values.tag);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
}

function release(tag: string | undefined): void {
  const folder = mkdtempSync(join(tmpdir(), 'hopla-release-'));
  try {
    for (const path of PACKAGES) run('npm', ['pack', '--silent', '--pack-destination', folder], join(root, path));
    run('npx', ['mocha', 'test/package'], root, { HOPLA_TARBALLS: folder });
    const tarballs = manifests.map(({ name, version }) => join(folder, `${name}-${version}.tgz`));
    for (const tarball of tarballs) {
      const command = ['publish', tarball, '--tag', tag ?? '<tag>'];
      if (values['dry-run']) say(`npm ${command.join(' ')}`);
      else run('npm', command, root);
    }
    if (values['dry-run']) say('dry run: nothing was published');
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Reasons why the packages cannot be published. */
function findTroubles(packages: Manifest[]): string[] {
  const changes = readFileSync(join(root, 'CHANGELOG.md'), 'utf8');
  const uncommitted = execFileSync('git', ['status', '--porcelain'], { cwd: root, encoding: 'utf8' });
  const versions = new Set(packages.map(({ version }) => version));
  return [
    ...(versions.size > 1 ? ['the packages have different versions'] : []),
    ...[...versions].filter((version) => !changes.includes(`## [${version}]`)).map((v) => `CHANGELOG.md has no ${v}`),
    ...(uncommitted === '' ? [] : ['there are changes that are not committed']),
  ];
}

function readManifest(path: string): Manifest {
  return JSON.parse(readFileSync(join(root, path, 'package.json'), 'utf8')) as Manifest;
}

function run(program: string, args: string[], cwd: string, environment: NodeJS.ProcessEnv = {}): void {
  const { status } = spawnSync(program, args, { cwd, stdio: 'inherit', env: { ...process.env, ...environment } });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} failed`);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

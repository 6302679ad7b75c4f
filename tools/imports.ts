/**
 * Checks where imports may point: no circle, no arrow from a lower floor of `src/` to a higher one, and
 * none from a package to `src/`.
 *
 *     node tools/imports.ts
 *
 * dependency-cruiser judges. Its reader of TypeScript needs an older compiler, so the tool makes a copy of the tree as
 * JavaScript and keeps the imports of types: a type is a dependency too.
 */
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { cruise, type ICruiseResult } from 'dependency-cruiser';

/** The floors of `src/`, from the ground up. A file imports from its own room, and from the floors below. */
const FLOORS: readonly (readonly Room[])[] = [
  [room('model'), room('runtime'), room('terminal')],
  [room('image-format'), room('database'), room('storage'), room('http'), part('log', '^src/observability/log')],
  [room('ledger')],
  [part('events', '^src/events/[^/]+$'), room('identity')],
  [room('staging'), room('cluster')],
  [room('transfers'), room('tickets')],
  [room('uploads/session'), room('events/sse')],
  [room('uploads/tus')],
  [part('metrics', '^src/observability/metrics')],
  [room('api-docs')],
  [room('web')],
  [part('sandbox', '^packages/sandbox/')],
  [room('demo')],
  [room('admin'), room('upload-command')],
];

type Room = { name: string; path: string };

function room(folder: string): Room {
  return part(folder, `^src/${folder}/`);
}

function part(name: string, path: string): Room {
  return { name, path };
}

/** The composition root and the command: no file imports either. Both read settings, and no lower floor does. */
const ROOF = '^src/(gateway|main)[.]js$';
const forbidden = [
  { name: 'no-circular', severity: 'error' as const, from: {}, to: { circular: true } },
  { name: 'packages-import-no-src', severity: 'error' as const, from: { path: '^packages/' }, to: { path: '^src/' } },
  ...FLOORS.flatMap((floor, level) =>
    floor.map(({ name, path }) => ({
      name: `${name}-imports-down`,
      severity: 'error' as const,
      from: { path },
      to: {
        path: [
          ROOF,
          ...FLOORS.slice(level)
            .flat()
            .map((above) => above.path),
        ],
        pathNot: path,
      },
    })),
  ),
];

/** A copy of `src/` as JavaScript with every import kept; the caller removes it. */
function copyAsJavaScript(): string {
  const root = mkdtempSync(join(tmpdir(), 'hopla-imports-'));
  for (const file of globSync('{src,packages}/**/*.ts', { exclude: ['**/*.d.ts', '**/node_modules/**'] })) {
    const kept = readFileSync(file, 'utf8').replaceAll(/^(import|export) type (?=[{*])/gm, '$1 ');
    const target = join(root, file.replace(/\.ts$/, '.js'));
    mkdirSync(dirname(target), { recursive: true });
    writeFileSync(target, stripTypeScriptTypes(kept).replaceAll(/(['"])(\.{1,2}\/[^'"\n]+)\.ts\1/g, '$1$2.js$1'));
  }
  return root;
}

const root = copyAsJavaScript();
try {
  const { output } = await cruise(['src', 'packages'], {
    baseDir: root,
    validate: true,
    ruleSet: { forbidden },
    doNotFollow: { path: 'node_modules' },
  });
  const { summary } = output as ICruiseResult;
  const asTypeScript = (path: string) => path.replace(/\.js$/, '.ts');
  for (const { rule, from, to, cycle } of summary.violations) {
    const way = cycle ? cycle.map(({ name }) => asTypeScript(name)).join(' → ') : asTypeScript(to);
    process.stdout.write(`${rule.name}: ${asTypeScript(from)} → ${way}\n`);
  }
  process.stdout.write(
    `imports: ${summary.totalCruised} files, ${summary.totalDependenciesCruised ?? 0} imports, ${summary.violations.length} against the rules\n`,
  );
  if (summary.violations.length > 0) process.exitCode = 1;
} finally {
  rmSync(root, { recursive: true });
}

import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { parseArgs } from 'node:util';
import { expect } from 'chai';
import { parse as parseYaml } from 'yaml';
import packageJson from '../../package.json' with { type: 'json' };
import { listSettings, readConfig } from '../../src/config.ts';
import { imageStatuses, ticketStatuses } from '../../src/model/states.ts';
import { score } from '../../tools/plain-english.ts';
import { MAX_HEADLESS, MAX_PRONOUNS, sentencesOfPage } from '../../tools/plain-pages.ts';
import { readOptions } from '../chaos/options.ts';
import { anchorsOf, type Block, blocksOf, pageNames, readPage, root } from '../support/pages.ts';

describe('the documentation', () => {
  it('has a README that is read in minutes', () => {
    expect(readPage('README.md').split('\n')).to.have.lengthOf.at.most(250);
  });

  it('links only to files and headings that exist', () => {
    const broken = pageNames.flatMap((page) =>
      linksOf(readPage(page))
        .filter((link) => !resolves(page, link))
        .map((link) => `${page}: ${link}`),
    );
    expect(broken).to.deep.equal([]);
  });

  it('links to every page from the README or from a page behind it', () => {
    const reached = new Set(['README.md']);
    for (const page of reached)
      for (const link of linksOf(readPage(page))) {
        const [target = ''] = pathOf(page, link);
        if (pageNames.includes(target)) reached.add(target);
      }
    expect(pageNames.filter((page) => !reached.has(page))).to.deep.equal([]);
  });

  it('names only files and folders that exist', () => {
    const paths = pageNames
      .filter((page) => page !== 'CHANGELOG.md')
      .flatMap((page) =>
        [
          ...readPage(page).matchAll(/`((?:src|test|tools|bench|docs|migrations|operations|examples|bin)\/[\w./-]*)`/g),
        ].map(([, path = '']) => ({ page, path })),
      );
    expect(paths).to.have.lengthOf.above(20);
    expect(paths.filter(({ path }) => !existsSync(join(root, path)))).to.deep.equal([]);
  });

  it('names only tests that exist', () => {
    const cells = [...readPage('docs/guarantees.md').matchAll(/^\|.*\| (.+) \|$/gm)].map(([, cell = '']) => cell);
    const tests = cells.flatMap((cell) => [...cell.matchAll(/`([a-z/-]+\/[a-z-]+)`(?:: ([^;`]+))?/g)]);
    expect(tests).to.have.lengthOf.above(25);
    const missing = tests.filter(([, path, name = '']) => {
      const file = join(root, `test/${path}.test.ts`);
      if (!existsSync(file)) return true;
      const source = readFileSync(file, 'utf8');
      return !name.split('…').every((part) => source.includes(part.trim()));
    });
    expect(missing.map(([text]) => text)).to.deep.equal([]);
  });

  it('names only settings that exist', () => {
    const known = new Set<string>([...listSettings().map(({ name }) => name), ...OTHER_NAMES]);
    const named = pageNames
      .filter((page) => page !== 'CHANGELOG.md')
      .flatMap((page) =>
        [...readPage(page).matchAll(/`([A-Z][A-Z0-9]+(?:_[A-Z0-9]+)+)(?:=[^`]*)?`/g)].map(([, name = '']) => name),
      );
    expect(named).to.have.lengthOf.above(30);
    expect(named.filter((name) => !known.has(name))).to.deep.equal([]);
  });

  it('draws every state of images and tickets, and no other', () => {
    const diagrams = blocksOf(readPage('docs/ARCHITECTURE.md')).filter(({ text }) => text.startsWith('stateDiagram'));
    const states = diagrams.map(({ text }) => [
      ...new Set([...text.matchAll(/^ {2}(\S+) --> ([^\s:]+)/gm)].flatMap(([, from, to]) => [from, to])),
    ]);
    expect(states.map((names) => names.filter((name) => name !== '[*]').sort())).to.deep.equal([
      [...imageStatuses].sort(),
      [...ticketStatuses].sort(),
    ]);
  });

  it('is in plain English', () => {
    const { pronouns, headless } = score(pageNames.flatMap((page) => sentencesOfPage(page, readPage(page))));
    expect(pronouns, 'the share of pronouns').to.be.at.most(MAX_PRONOUNS);
    expect(headless, 'the share of sentences that open without a noun').to.be.at.most(MAX_HEADLESS);
  });
});

describe('the code blocks of the documentation', () => {
  for (const page of pageNames)
    for (const [index, block] of blocksOf(readPage(page)).entries())
      it(`${page}, block ${index + 1} under “${block.heading}”: ${block.language} is run or checked`, () => {
        const check = checks[block.language];
        expect(check, `no test looks at ${block.language} blocks`).to.be.a('function');
        check?.(block, page);
      });
});

describe('the files beside the documentation', () => {
  const read = (path: string) => parseYaml(readFileSync(join(root, path), 'utf8'));

  it('are YAML where a program expects YAML', () => {
    for (const path of ['compose.yaml', 'operations/alerts.yaml', '.github/workflows/ci.yml'])
      expect(read(path), path).to.be.an('object');
  });

  it('have a workflow that runs what the project runs', () => {
    const { jobs } = read('.github/workflows/ci.yml') as { jobs: { test: { steps: { run?: string }[] } } };
    expect(jobs.test.steps.map(({ run }) => run)).to.include('.ci/run');
    expect(statSync(join(root, '.ci/run')).mode & 0o111, 'execute rights of .ci/run').to.not.equal(0);
  });

  it('have a screenshot that pages can load in a moment', () => {
    expect(statSync(join(root, 'docs/images/upload-page.png')).size).to.be.within(10_000, 200_000);
  });
});

/** Names in capitals that are no settings. */
const OTHER_NAMES = ['NODE_COMPILE_CACHE', 'MALLOC_ARENA_MAX', 'UV_THREADPOOL_SIZE', 'POSTGRES_PASSWORD'];

const checks: Record<string, (block: Block, page: string) => void> = {
  /** Blocks without a name stand in a walk, and walk.test.ts runs them. A named block is checked here. */
  sh({ name, text }, page) {
    if (name === '') expect(walkOf(page), `${page} has a block outside of its walk: ${text}`).to.include(text);
    else for (const line of text.trim().split('\n')) for (const command of line.split(' && ')) checkCommand(command);
  },
  /** walk.test.ts and browser.test.ts run modules. */
  js({ name }) {
    expect(name).to.match(/^[a-z-]+\.mjs$/);
    const runners = ['walk', 'browser'].map((test) =>
      readFileSync(join(root, `test/documents/${test}.test.ts`), 'utf8'),
    );
    const walked = ['README.md', 'docs/clients.md'].some((page) => walkOf(page).includes(`npx node ${name}`));
    expect(walked || runners.some((runner) => runner.includes(name)), `no test runs ${name}`).to.equal(true);
  },
  env({ text }) {
    const settings = Object.fromEntries(
      text
        .trim()
        .split('\n')
        .map((line) => line.split(/=(.*)/s).slice(0, 2)),
    );
    expect(readConfig(settings)).to.be.an('object');
    expect(listSettings().map(({ name }) => name as string)).to.include.members(Object.keys(settings));
  },
  yaml({ text }) {
    expect(parseYaml(text)).to.be.an('object');
  },
  /** nginx.test.ts runs it. */
  nginx(_, page) {
    expect(page).to.equal('docs/operations.md');
  },
  /** Each line is an edge, or text between the edges' brackets. */
  mermaid({ text }) {
    const [kind = '', ...edges] = text.trim().split('\n');
    expect(kind).to.match(/^(flowchart LR|stateDiagram-v2)$/);
    for (const edge of edges) expect(edge).to.match(/^ {2}\S.* --(>| .+ -->)/);
  },
};

/** The walk of a page; empty for a page without a walk. */
function walkOf(page: string): string {
  return readPage(page).split('<!-- walk -->')[1]?.split('<!-- /walk -->')[0] ?? '';
}

/** Throws when a command could not be typed as it stands: its script, file, part, option, setting or service is unknown. */
function checkCommand(command: string): void {
  const words = command.split(' ').map((word) => word.replaceAll("'", ''));
  const settings = words.filter((word) => /^[A-Z_]+=/.test(word));
  for (const setting of settings) {
    const [name = ''] = setting.split('=');
    expect([...listSettings().map((known) => known.name as string), 'WRITE', 'POSTGRES_PASSWORD']).to.include(name);
  }
  const [program = '', ...args] = command.replaceAll(/^([A-Z_]+=('[^']*'|\S+) )+/g, '').split(' ');
  const rest = args.slice(args.indexOf('--') + 1);
  if (program === 'npm') checkNpm(args, rest);
  else if (program === 'npx') expect(existsSync(join(root, args.at(-1) ?? '')), command).to.equal(true);
  else if (program === 'docker') checkDocker(args);
  else if (program === 'bin/hopla') expect(args).to.deep.equal([]);
  else expect(program, `nobody knows how to check: ${command}`).to.equal('echo');
}

function checkNpm([verb = '', script = '']: string[], rest: string[]): void {
  if (verb === 'ci') return;
  const name = verb === 'run' ? script : verb;
  expect(Object.keys(packageJson.scripts)).to.include(name);
  if (name === 'chaos') readOptions(rest);
  if (name !== 'bench') return;
  const runner = readFileSync(join(root, 'bench/run.ts'), 'utf8');
  const [, parts = ''] = /parts: Record<string, Part> = \{ (.+) \}/.exec(runner) ?? [];
  const { positionals } = parseArgs({ args: rest, options: { quick: { type: 'boolean' } }, allowPositionals: true });
  expect(parts.split(', ')).to.include.members(positionals);
}

function checkDocker([compose = '', verb = '', ...args]: string[]): void {
  const services = parseYaml(readFileSync(join(root, 'compose.yaml'), 'utf8')) as { services: object };
  expect(compose).to.equal('compose');
  if (verb === 'exec') expect(Object.keys(services.services)).to.include(args[0]);
  else expect([verb, ...args]).to.deep.equal(['up', '--build', '--detach']);
}

/** The addresses of links and images outside of code, other than those on the web. */
function linksOf(markdown: string): string[] {
  const prose = markdown.replaceAll(/^```[\s\S]*?^```$/gm, '');
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)].map(([, link = '']) => link).filter((link) => !/^https?:/.test(link));
}

/** The file that a link of a page leads to, and its anchor. */
function pathOf(page: string, link: string): [path: string, anchor: string | undefined] {
  const [path = '', anchor] = link.split('#');
  return [path === '' ? page : normalize(join(dirname(page), path)), anchor];
}

function resolves(page: string, link: string): boolean {
  const [path, anchor] = pathOf(page, link);
  if (!existsSync(join(root, path))) return false;
  return anchor === undefined || anchorsOf(readPage(path)).includes(anchor);
}

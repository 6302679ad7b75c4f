import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { listSettings } from '../../src/config.ts';
import { errorKinds } from '../../src/model/errors.ts';
import { listCalls, llmsText } from '../../tools/write-llms.ts';
import { startTestGateway } from '../support/gateway.ts';
import { root, section, withSection } from '../support/pages.ts';

describe('the generated parts of the documentation', () => {
  it('list every setting with its default and meaning', () => {
    const rows = listSettings().map(({ name, standard, example, meaning }) =>
      row(`\`${name}\``, standard ? code(standard) : '', meaning, code(example)),
    );
    compareSection('docs/operations.md', 'settings', table(['setting', 'default', 'meaning', 'example'], rows));
  });

  it('list every error code with its status', () => {
    const rows = Object.entries(errorKinds).map(([name, { status, title }]) =>
      row(`\`${name}\``, isOfTransfers(name) ? '' : `${status}`, title),
    );
    compareSection('docs/api.md', 'errors', table(['code', 'status', 'meaning'], rows));
  });

  it('list every call of the API', () => {
    const rows = listCalls().map(({ method, path, summary }) => row(`\`${method} ${path}\``, summary));
    compareSection('docs/api.md', 'calls', table(['call', 'meaning'], rows));
  });

  it('list every metric that a gateway serves', async () => {
    await using closing = new AsyncDisposableStack();
    const gateway = closing.adopt(await startTestGateway(), (started) => started.close());
    const text = await (await fetch(`${gateway.url}/metrics`)).text();
    const metrics = [...text.matchAll(/^# HELP (hopla_\w+) (.+)\n# TYPE \w+ (\w+)/gm)];
    const rows = metrics.map(([, name, help = '', type = '']) => row(`\`${name}\``, type, help));
    expect(rows).to.have.lengthOf.above(10);
    compareSection('docs/operations.md', 'metrics', table(['metric', 'type', 'meaning'], rows.sort()));
  });

  it('list every alert rule with what to do', () => {
    const rules = readFileSync(join(root, 'operations/alerts.yaml'), 'utf8').split('- alert: ').slice(1);
    const rows = rules.map((rule) => {
      const [, name = ''] = /^(\w+)/.exec(rule) ?? [];
      const of = (key: string) => new RegExp(`${key}: (.+)`).exec(rule)?.[1] ?? '';
      return row(`\`${name}\``, of('summary'), of('action'));
    });
    expect(rows).to.have.lengthOf.above(4);
    compareSection('docs/operations.md', 'alerts', table(['alert', 'when', 'what to do'], rows));
  });

  it('list the settings in .env.example, commented out, each with its meaning and default', () => {
    const entries = listSettings().map(({ name, standard, example, meaning }) => {
      const remark = standard ? '' : '# Not set by default; for example:\n';
      return `\n# ${meaning.charAt(0).toUpperCase()}${meaning.slice(1)}.\n${remark}#${name}=${standard || example}\n`;
    });
    const intro = '# Every setting of hopla. Copy this file to .env, and take the # off what you change.\n';
    compare('.env.example', intro + entries.join(''));
  });

  it('list the pages and the calls in llms.txt', () => {
    compare('llms.txt', llmsText());
  });
});

describe('the written tables of the documentation', () => {
  it('give each upload error the status that the error table gives it', () => {
    const told = [...section('docs/api.md', 'statuses').matchAll(/(\d{3}) `([a-z-]+)`/g)].map(
      ([, status, name]) => `${name} ${status}`,
    );
    const kinds = Object.entries(errorKinds).map(([name, { status }]) => `${name} ${status}`);
    expect(told).to.have.lengthOf.above(15);
    expect(kinds).to.include.members(told);
  });

  it('quote only log messages that the code has', () => {
    const sources = globSync('src/**/*.ts', { cwd: root }).map((name) => readFileSync(join(root, name), 'utf8'));
    const operations = readFileSync(join(root, 'docs/operations.md'), 'utf8');
    const quoted = [...operations.matchAll(/^\| [45]0 \| `(.+?)` \|/gm)].map(([, message = '']) => message);
    expect(quoted).to.have.lengthOf.above(3);
    expect(quoted.filter((message) => !sources.some((source) => source.includes(`'${message}'`)))).to.deep.equal([]);
  });
});

/** Codes that appear in the `error` of an image, and in no HTTP answer. */
function isOfTransfers(name: string): boolean {
  return name.startsWith('storage-') || name === 'staged-file-lost';
}

function table(header: string[], rows: string[]): string {
  return `\n${[row(...header), row(...header.map(() => '---')), ...rows].join('\n')}\n\n`;
}

function row(...cells: string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

/** As code, with a place for the line to break after each comma. */
function code(text: string): string {
  return text
    .split(/(?<=,)/)
    .map((part) => `\`${part}\``)
    .join(' ');
}

function compareSection(page: string, name: string, text: string): void {
  compare(page, withSection(page, name, text));
}

/** Fails when a file differs from its generated text; with WRITE=1 the file is brought up to date instead. */
function compare(file: string, text: string): void {
  const path = join(root, file);
  if (process.env.WRITE) writeFileSync(path, text);
  const current = existsSync(path) ? readFileSync(path, 'utf8') : '';
  const remedy = 'WRITE=1 npx mocha test/documents/generated.test.ts';
  expect(current === text, `${file} is out of date: ${remedy}`).to.equal(true);
}

/**
 * Writes `llms.txt` (https://llmstxt.org): the pages of the documentation with their first paragraphs, and the calls of the
 * HTTP API with their summaries, for programs that read documentation.
 *
 *     node tools/write-llms.ts
 */
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import packageJson from '../package.json' with { type: 'json' };
import { openApiDocument } from '../src/api-docs/openapi.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const METHODS = ['get', 'head', 'post', 'put', 'patch', 'delete', 'options'];

export type Call = { method: string; path: string; summary: string };

/** Every call of the OpenAPI document, in its order. */
export function listCalls(): Call[] {
  const { paths } = openApiDocument(packageJson.version) as {
    paths: Record<string, Record<string, { summary?: string }>>;
  };
  return Object.entries(paths).flatMap(([path, operations]) =>
    Object.entries(operations)
      .filter(([method]) => METHODS.includes(method))
      .map(([method, { summary = '' }]) => ({ method: method.toUpperCase(), path, summary })),
  );
}

/** The text of `llms.txt`. */
export function llmsText(): string {
  const [start, more] = [
    ['docs/clients.md', 'docs/api.md', 'docs/guarantees.md', 'docs/operations.md', 'docs/upgrading.md'],
    ['docs/ARCHITECTURE.md', 'docs/GLOSSARY.md', 'docs/performance.md', 'docs/comparison.md', 'docs/releasing.md'],
  ];
  const others = [...globSync('docs/{adr,guides}/*.md', { cwd: root }).sort(), 'CONTRIBUTING.md', 'SECURITY.md'];
  const sections = [
    `# hopla\n\n> ${firstParagraph(readFileSync(join(root, 'README.md'), 'utf8'))}`,
    `## Use it\n\n${['README.md', ...start, 'CHANGELOG.md'].map(entry).join('\n')}`,
    `## HTTP calls\n\n${listCalls()
      .map(({ method, path, summary }) => `- \`${method} ${path}\`: ${summary}`)
      .join('\n')}`,
    `## Understand and change it\n\n${[...more, ...others].map(entry).join('\n')}`,
  ];
  return `${sections.join('\n\n')}\n`;
}

function entry(path: string): string {
  const text = readFileSync(join(root, path), 'utf8');
  const [, title = path] = /^# (.+)$/m.exec(text) ?? [];
  return `- [${title}](${path}): ${firstParagraph(text)}`;
}

/** The first paragraph that is about the subject, without line breaks and without the marks of Markdown. */
function firstParagraph(markdown: string): string {
  const paragraph =
    markdown.split(/\n{2,}/).find((part) => /^[A-Za-z]/.test(part) && !part.startsWith('Status:')) ?? '';
  return paragraph
    .replaceAll(/\[([^\]]+)\]\([^)]*\)/g, '$1')
    .replaceAll('**', '')
    .replaceAll(/\s+/g, ' ')
    .trim();
}

if (import.meta.main) writeFileSync(join(root, 'llms.txt'), llmsText());

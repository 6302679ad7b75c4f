import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The project's own folder, with a slash at its end. */
export const root = fileURLToPath(new URL('../../', import.meta.url));

/** Every page of the documentation, as a path from the project's folder. */
export const pageNames: readonly string[] = [
  'README.md',
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  ...globSync('docs/**/*.md', { cwd: root }).sort(),
];

export function readPage(name: string): string {
  return readFileSync(`${root}${name}`, 'utf8');
}

/** The text between `<!-- name -->` and `<!-- /name -->` of a page. Throws an Error when the page has no such section. */
export function section(page: string, name: string): string {
  const [, after] = readPage(page).split(`<!-- ${name} -->\n`);
  const [text, rest] = after?.split(`<!-- /${name} -->`) ?? [];
  if (text === undefined || rest === undefined) throw new Error(`${page} has no section ${name}`);
  return text;
}

/** A page with another text in a section. */
export function withSection(page: string, name: string, text: string): string {
  const [start, end] = [`<!-- ${name} -->\n`, `<!-- /${name} -->`];
  return readPage(page).replace(start + section(page, name) + end, () => start + text + end);
}

/** A fenced block: commands (`sh`), or a file with its name behind the language. */
export type Block = {
  heading: string;
  language: string;
  name: string;
  text: string;
  /** The output of the commands, from the following `text` block. */
  output: string | null;
};

/** The fenced blocks of a page, or of a part of it, in order. */
export function blocksOf(markdown: string): Block[] {
  const blocks: Block[] = [];
  let heading = '';
  for (const match of markdown.matchAll(/^#+ (.+)$|^```(\w*) ?(\S*)\n((?:.*\n)*?)```$/gm)) {
    const [, title, language = '', name = '', text = ''] = match;
    if (title !== undefined) heading = title;
    else if (language !== 'text') blocks.push({ heading, language, name, text, output: null });
    else Object.assign(blocks.at(-1) ?? {}, { output: text });
  }
  return blocks;
}

/** The text of a block by the name of its file. Throws an Error when no page has the block. */
export function fileBlock(name: string): string {
  const block = pageNames.flatMap((page) => blocksOf(readPage(page))).find((candidate) => candidate.name === name);
  if (!block) throw new Error(`no page has a block ${name}`);
  return block.text;
}

/** True if `printed` is the documented output: `…` stands for any text within a line, and alone on a line for any lines. */
export function matches(output: string, printed: string): boolean {
  const lines = output.trimEnd().split('\n');
  const patterns = lines.map((line) =>
    line === '…'
      ? '(?:.*\\n)*?'
      : `${line
          .split('…')
          .map((piece) => piece.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'))
          .join('.*')}\\n`,
  );
  return new RegExp(`^${patterns.join('')}$`).test(`${printed.trimEnd()}\n`);
}

/** The anchors of a page's headings, as GitHub makes them. */
export function anchorsOf(markdown: string): string[] {
  const prose = markdown.replaceAll(/^```[\s\S]*?^```$/gm, '');
  return [...prose.matchAll(/^#+ (.+)$/gm)].map(([, text = '']) =>
    text
      .toLowerCase()
      .replace(/[^\w -]/g, '')
      .replaceAll(' ', '-'),
  );
}

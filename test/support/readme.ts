import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The project's own folder, with a slash at its end. */
export const root = fileURLToPath(new URL('../../', import.meta.url));

export function readReadme(): string {
  return readFileSync(`${root}README.md`, 'utf8');
}

/** What stands between `<!-- name -->` and `<!-- /name -->`. */
export function section(name: string): string {
  const [, after] = readReadme().split(`<!-- ${name} -->\n`);
  const [text, rest] = after?.split(`<!-- /${name} -->`) ?? [];
  if (text === undefined || rest === undefined) throw new Error(`README.md has no section ${name}`);
  return text;
}

/** The README with another text in a section. */
export function withSection(name: string, text: string): string {
  const end = `<!-- /${name} -->`;
  return readReadme().replace(section(name) + end, () => text + end);
}

/** A fenced block: commands (`sh`), or a file with its name behind the language. */
export type Block = {
  heading: string;
  language: string;
  name: string;
  text: string;
  /** What the commands print, from the `text` block behind them. */
  output: string | null;
};

/** The fenced blocks of a part of the README, in order. */
export function blocksOf(markdown: string): Block[] {
  const blocks: Block[] = [];
  let heading = '';
  for (const match of markdown.matchAll(/^#+ (.+)$|^```(\w+) ?(\S*)\n((?:.*\n)*?)```$/gm)) {
    const [, title, language = '', name = '', text = ''] = match;
    if (title !== undefined) heading = title;
    else if (language !== 'text') blocks.push({ heading, language, name, text, output: null });
    else Object.assign(blocks.at(-1) ?? {}, { output: text });
  }
  return blocks;
}

/** A block by the name of its file. */
export function fileBlock(name: string): string {
  const block = blocksOf(readReadme()).find((candidate) => candidate.name === name);
  if (!block) throw new Error(`README.md has no block ${name}`);
  return block.text;
}

/** True if `printed` is what the README says: `…` there is anything within a line, and alone on a line any lines. */
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

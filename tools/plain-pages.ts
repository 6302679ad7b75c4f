/**
 * Counts how plain the English of the documentation is, as `plain-english.ts` does for comments.
 *
 *     node tools/plain-pages.ts [--list] [PAGE…]
 *
 * `--list` prints the sentences that raise a figure.
 */
import { globSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type Sentence, score, sentencesOf } from './plain-english.ts';

/** Levels of the comments of ten model code bases; see `plain-english.ts`. */
export const MAX_PRONOUNS = 0.061;
export const MAX_HEADLESS = 0.05;

/** The sentences of a page in Markdown, without code and generated tables. A cell and a point are paragraphs of their own. */
export function sentencesOfPage(page: string, markdown: string): Sentence[] {
  const prose = markdown
    .replaceAll(/^```[\s\S]*?^```$/gm, '')
    .replaceAll(/<!-- (\w+) -->[\s\S]*?<!-- \/\1 -->/g, (part, name) => (name === 'walk' ? part : ''))
    .replaceAll(/^#.*$/gm, '')
    .replaceAll(/\[([^\]]+)\]\([^)]*\)/g, '$1')
    .replaceAll('**', '')
    .replaceAll(/\*\/|\/\*/g, '')
    .replaceAll(/ \| |^\| | \|$/gm, '\n\n')
    .replaceAll(/^ *([*-]|\d+\.) /gm, '\n\n');
  return sentencesOf(page, `/*\n${prose}\n*/`);
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { list: { type: 'boolean' } } });
  const pages = positionals.length > 0 ? positionals : ['*.md', 'docs/**/*.md'].flatMap((pattern) => globSync(pattern));
  const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
  const say = (name: string, sentences: Sentence[]) => {
    const { pronouns, headless, sentences: count } = score(sentences);
    process.stdout.write(
      `${name}: ${count} sentences, ${percent(pronouns)} pronouns, ${percent(headless)} without a noun\n`,
    );
  };
  const all = pages.map((page) => ({ page, sentences: sentencesOfPage(page, readFileSync(page, 'utf8')) }));
  for (const { page, sentences } of all) {
    if (values.list)
      for (const sentence of sentences) {
        const { pronouns, headless } = score([sentence]);
        if (headless > 0 || pronouns > 0.13) process.stdout.write(`  ${page}: ${sentence.text}\n`);
      }
    say(page, sentences);
  }
  say(
    'all pages',
    all.flatMap(({ sentences }) => sentences),
  );
}

/**
 * Counts how plain the English of the comments is, and fails above the levels of well-known code bases.
 *
 *     node tools/plain-english.ts [--list] [FOLDER…]
 *
 * Two figures over all comment sentences of six words or more: the share of words that are pronouns, and the share of
 * sentences that open without a noun ("Who asks …", "What came …", "Of these …", "It …"). Ten well-kept code bases have
 * 2.5 to 6 % pronouns and 1 to 5 % such openings. `--list` prints the sentences that raise a figure.
 */
import { globSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

const MAX_PRONOUNS = 0.061;
const MAX_HEADLESS = 0.05;
const MIN_WORDS = 6;

const PRONOUNS = new Set(
  (
    'i me my we us our you your he him his she her it its itself they them their themselves one ones oneself this that these those ' +
    'such what whatever which who whom whose whoever whichever something somebody someone anything anybody anyone ' +
    'everything everybody everyone nothing nobody none others another'
  ).split(' '),
);
/** First words of a sentence without a subject. */
const HEADLESS = new Set(
  (
    'who whoever what whatever how whether which whose of so it its they them he she this that these those such one ones ' +
    'something somebody anything anybody everything everybody nothing nobody none others another both neither either'
  ).split(' '),
);

export type Sentence = { file: string; line: number; text: string; words: string[] };

/** The sentences of the comments in a source text. Code in backquotes counts as one word, as a reader takes it. */
export function sentencesOf(file: string, source: string): Sentence[] {
  return commentsOf(source).flatMap(({ line, text }) =>
    text
      .replaceAll(/`[^`]*`/g, 'code')
      .replaceAll(/https?:\S+/g, 'address')
      .split(/(?<=[.!?:;])\s+(?=\p{Lu}|\d|$)|\n{2,}/u)
      .map((sentence) => ({ file, line, text: sentence.replaceAll(/\s+/g, ' ').trim(), words: wordsOf(sentence) }))
      .filter(({ words }) => words.length >= MIN_WORDS),
  );
}

const wordsOf = (text: string): string[] =>
  text
    .toLowerCase()
    .match(/\p{L}[\p{L}\p{N}'’-]*/gu)
    ?.map((word) => word.replace(/['’]s$/, '')) ?? [];

/** Block comments, and runs of line comments, each as one text without its marks. */
function commentsOf(source: string): { line: number; text: string }[] {
  const comments: { line: number; text: string }[] = [];
  const pattern = /\/\*\*?([\s\S]*?)\*\/|(?:^[ \t]*\/\/[^\n]*\n?)+|(?<=[;,{}()\]]\s*)\/\/[^\n]*/gm;
  for (const match of source.matchAll(pattern)) {
    const text = match[0]
      .replaceAll(/^\s*\/\*+|\*\/\s*$/g, '')
      .replaceAll(/^[ \t]*(\*|\/\/)[ \t]?/gm, '')
      .replaceAll(/^\s*(biome-ignore|@type|@ts-|prettier-ignore).*$/gm, '');
    comments.push({ line: source.slice(0, match.index).split('\n').length, text });
  }
  return comments;
}

const isPronoun = (word: string) => PRONOUNS.has(word);
const isHeadless = ({ words: [first = '', second = ''] }: Sentence) =>
  HEADLESS.has(first) && !(DETERMINERS.has(first) && !isPronoun(second) && !VERBS.has(second));
/** "This file holds …" names its subject; "This holds …" does not. */
const DETERMINERS = new Set([
  'this',
  'that',
  'these',
  'those',
  'such',
  'its',
  'another',
  'both',
  'either',
  'neither',
  'which',
  'whose',
  'what',
]);
const VERBS = new Set(
  'is are was were be has have had does do did can could may might must will would shall should not holds takes gives makes keeps comes goes ends waits says tells means counts asks needs'.split(
    ' ',
  ),
);

export type Score = { sentences: number; words: number; pronouns: number; headless: number };

export function score(sentences: readonly Sentence[]): Score {
  const words = sentences.flatMap((sentence) => sentence.words);
  return {
    sentences: sentences.length,
    words: words.length,
    pronouns: words.filter(isPronoun).length / Math.max(words.length, 1),
    headless: sentences.filter(isHeadless).length / Math.max(sentences.length, 1),
  };
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { list: { type: 'boolean' } } });
  const folders = positionals.length > 0 ? positionals : ['src', 'packages', 'test', 'bench', 'tools', 'migrations'];
  const files = folders.flatMap((folder) =>
    globSync(`${folder}/**/*.{ts,js,mjs,css}`, { exclude: ['**/node_modules/**'] }),
  );
  const sentences = files.flatMap((file) => sentencesOf(file, readFileSync(file, 'utf8')));
  const { pronouns, headless, sentences: count } = score(sentences);
  if (values.list)
    for (const sentence of sentences) {
      const share = sentence.words.filter(isPronoun).length / sentence.words.length;
      if (isHeadless(sentence) || share > 0.2)
        process.stdout.write(`${sentence.file}:${sentence.line}: ${sentence.text}\n`);
    }
  const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
  process.stdout.write(
    `plain English: ${count} comment sentences, ${percent(pronouns)} pronouns (at most ${percent(MAX_PRONOUNS)}), ${percent(headless)} open without a noun (at most ${percent(MAX_HEADLESS)})\n`,
  );
  if (pronouns > MAX_PRONOUNS || headless > MAX_HEADLESS) process.exitCode = 1;
}

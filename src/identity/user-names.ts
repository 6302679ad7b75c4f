import { z } from 'zod';

/** Formatting (also of bidirectional text), private and unassigned characters, fillers, and the empty Braille cell. */
const INVISIBLE = /[\p{Cf}\p{Cs}\p{Co}\p{Cn}\p{Default_Ignorable_Code_Point}\u2800]/u;

/** Scripts that are in everyday use: UAX #31, table 5. */
const SCRIPTS = [
  ...[
    'Arabic',
    'Armenian',
    'Bengali',
    'Bopomofo',
    'Cyrillic',
    'Devanagari',
    'Ethiopic',
    'Georgian',
    'Greek',
    'Gujarati',
  ],
  ...['Gurmukhi', 'Hangul', 'Han', 'Hebrew', 'Hiragana', 'Kannada', 'Katakana', 'Khmer', 'Lao', 'Latin', 'Malayalam'],
  ...['Myanmar', 'Oriya', 'Sinhala', 'Tamil', 'Telugu', 'Thaana', 'Thai', 'Tibetan'],
];
/** What Japanese, Chinese and Korean are written in, with Latin letters among it. */
const TOGETHER = [
  ['Latin', 'Han', 'Hiragana', 'Katakana'],
  ['Latin', 'Han', 'Bopomofo'],
  ['Latin', 'Han', 'Hangul'],
];
/** UTS #39, section 5.2, "highly restrictive": a Cyrillic а among Latin letters is somebody who wants to be taken for another. */
const UNMIXED = new RegExp(
  `^(?:${[...SCRIPTS.map((script) => [script]), ...TOGETHER]
    .map((scripts) => `[${[...scripts, 'Common', 'Inherited'].map((script) => `\\p{scx=${script}}`).join('')}]*`)
    .join('|')})$`,
  'u',
);

/** The name of a new user, in the form in which it is kept: NFKC, so that there is one spelling of what looks the same. */
export const UserName = z
  .string()
  .transform((name) => name.normalize('NFKC'))
  .pipe(
    z
      .string()
      .regex(/^[^\p{Cc}\s]{1,100}$/u, { abort: true, error: 'must have 1 to 100 characters, none of them a space' })
      .refine((name) => !INVISIBLE.test(name), {
        abort: true,
        error: 'must have no invisible characters, such as zero-width spaces or marks of writing direction',
      })
      .regex(UNMIXED, 'must have letters of one script, not look-alikes of another one among them'),
  );

/**
 * The key of a name is the same in all its spellings, and two users never share one. Postgres' lower() is no such key: it
 * depends on the locale of the database, and knows ASCII alone in the database that `npm start` makes.
 */
export function nameKey(username: string): string {
  // Upper case first: it makes one letter of those that lower case keeps apart, such as σ and ς.
  return username.normalize('NFKC').toUpperCase().toLowerCase().normalize('NFKC');
}

import { hash } from 'node:crypto';
import type { Database } from './connection.ts';

/**
 * A statement, or a piece of a longer statement: the text between its values, and the values. Text and values stay apart
 * until Postgres has both, so a value can never be read as SQL.
 */
export class Statement<Row extends object = object> {
  /** One more than `values`: value n stands between texts n and n + 1. */
  readonly texts: readonly string[];
  readonly values: readonly unknown[];
  /** Names the type of the rows; never set. */
  declare readonly row?: Row;

  constructor(texts: readonly string[], values: readonly unknown[]) {
    this.texts = texts;
    this.values = values;
  }
}

/**
 * Writes a statement as a template. `Row` is the shape of the rows it returns. A part that is a `Statement` becomes part of
 * the text; every other part becomes a value: `$1`, `$2` … in the order of the text. `undefined` becomes NULL.
 */
export function sql<Row extends object = object>(
  strings: readonly string[],
  ...parts: readonly unknown[]
): Statement<Row> {
  const texts: string[] = [];
  const values: unknown[] = [];
  let text = strings[0] ?? '';
  for (const [nth, part] of parts.entries()) {
    if (part instanceof Statement) {
      for (const [index, value] of part.values.entries()) {
        texts.push(text + (part.texts[index] ?? ''));
        values.push(value);
        text = '';
      }
      text += part.texts.at(-1) ?? '';
    } else {
      texts.push(text);
      values.push(part);
      text = '';
    }
    text += strings[nth + 1] ?? '';
  }
  return new Statement([...texts, text], values);
}

/** SQL text that the code made itself, names of columns for example. Text from outside must be a value. */
export function text(trusted: string): Statement {
  return new Statement([trusted], []);
}

/** The text as Postgres takes it: `$1`, `$2` … for the values. */
function textOf({ texts }: Statement): string {
  return texts.reduce((before, after, nth) => `${before}$${nth}${after}`);
}

/**
 * Runs a statement, on a connection of the pool or in the given transaction, and resolves to its rows.
 *
 * Throws the error of `pg`, with the statement before its message (knex); see `isDatabaseOutage`.
 */
export async function query<Row extends object>(db: Database, statement: Statement<Row>): Promise<Row[]> {
  const whole = textOf(statement);
  const { rows } = await db.raw<{ rows: Row[] }>(whole).options({ text: whole, values: statement.values });
  return rows;
}

/**
 * Runs a statement as `query` does, but each connection parses and plans its text once: for the large statements of the
 * ledger, parsing and planning are most of the cost.
 *
 * Only for texts that are few and stay the same, since the server keeps each text as long as the connection, and that name
 * the columns they return: a prepared `*` fails for ever once a migration adds a column. The plan is made for any values,
 * perhaps while the table was small; the connection forbids sequential scans, so that such a plan stays right.
 */
export async function prepared<Row extends object>(db: Database, statement: Statement<Row>): Promise<Row[]> {
  const whole = textOf(statement);
  // Knex searches the text that it is given for placeholders five times per run, which took a quarter of the CPU of a small
  // image. `options` go to the driver as they are, so the driver gets the text, and knex a short name for its messages.
  const { rows } = await db
    .raw<{ rows: Row[] }>('prepared statement')
    .options({ name: hash('sha1', whole), text: whole, values: statement.values });
  return rows;
}

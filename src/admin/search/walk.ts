import type { Database } from '../../database/connection.ts';

/** A piece of SQL and the values of its question marks. */
export type Condition = { sql: string; values: readonly unknown[] };

/** What a list is ordered by: an expression that an index has, and the type that a cursor's text is read as. */
export type Key = { sql: string; type: 'timestamptz' | 'uuid' | 'text' | 'bigint' };

/** A walk through a table along an index. Its rows are unique by `keys`, and each has a column `id`. */
export type Walk = {
  table: 'tickets' | 'images' | 'users' | 'tokens' | 'audit_log';
  keys: readonly Key[];
  order: 'asc' | 'desc';
  /** Where NULLs, of which there are none, would stand; some indexes have them where Postgres would not put them. */
  nulls?: 'first' | 'last' | undefined;
  /** What the index serves, too. */
  where: readonly Condition[];
  /** The same for one of several values: each is walked by itself, and they are merged. */
  oneOf?: { column: string; values: readonly string[] } | undefined;
  /** What no index serves: looked at row by row, so that a search has to be given up at some point. */
  sieve: readonly Condition[];
};

/** Where a walk stopped: the keys of the last row. */
export type Position = readonly string[];

/** `why`: there is more on the next page, or the time was up before everything was looked at. */
export type Next = { after: Position; why: 'more' | 'unsearched' };
export type Walked = { ids: string[]; next: Next | null };

export type Found<Item> = { items: Item[]; next: Next | null };

/** A search looks at few rows at first, as many have what is looked for; then at ever more, for so long in all. */
const FIRST_WINDOW = 500;
const LARGEST_WINDOW = 50_000;
const SEARCH_MS = 1_500;

type Step = { id: string; hit: boolean } & Record<string, unknown>;

/** The ids of one page. It costs the same however far down it is; with a sieve it ends within about two seconds. */
export async function walk(
  db: Database,
  what: Walk,
  { limit, after }: { limit: number; after?: Position | undefined },
): Promise<Walked> {
  const sieving = what.sieve.length > 0;
  const deadline = performance.now() + SEARCH_MS;
  const ids: string[] = [];
  let lastHit: Position | undefined;
  let position = after;
  for (let window = sieving ? FIRST_WINDOW : limit + 1; ; window = Math.min(window * 4, LARGEST_WINDOW)) {
    const { steps, looked } = await stepOn(db, what, window, position);
    for (const step of steps.filter(({ hit }) => hit)) {
      if (ids.length === limit && lastHit) return { ids, next: { after: lastHit, why: 'more' } };
      ids.push(step.id);
      lastHit = positionOf(what, step);
    }
    const last = steps.at(-1);
    if (!last || looked < window) return { ids, next: null };
    position = positionOf(what, last);
    if (performance.now() > deadline) return { ids, next: { after: position, why: 'unsearched' } };
  }
}

/** The hits among the next rows of the walk, and the last row, hit or not. */
async function stepOn(db: Database, what: Walk, window: number, after: Position | undefined) {
  const { table, keys, order, nulls, where, oneOf, sieve } = what;
  const direction = nulls ? `${order} NULLS ${nulls}` : order;
  const columns = keys.map((_key, index) => `k${index}`);
  const sorted = (names: readonly string[]) => names.map((name) => `${name} ${direction}`).join(', ');
  const expressions = keys.map(({ sql }) => sql);
  const conditions = [...where];
  if (after) {
    const marks = keys.map(({ type }) => `CAST(? AS ${type})`).join(', ');
    conditions.push({
      sql: `(${expressions.join(', ')}) ${order === 'desc' ? '<' : '>'} (${marks})`,
      values: after,
    });
  }
  const hit = allOf(sieve);
  const condition = allOf(oneOf ? [{ sql: `${oneOf.column} = wanted.value`, values: [] }, ...conditions] : conditions);
  const one: Condition = {
    sql: `SELECT id, ${expressions.map((sql, index) => `${sql} AS k${index}`).join(', ')}, coalesce(${hit.sql}, false) AS hit
      FROM ${table} WHERE ${condition.sql} ORDER BY ${sorted(expressions)} LIMIT ${window}`,
    values: [...hit.values, ...condition.values],
  };
  const several = `SELECT part.* FROM unnest(CAST(? AS text[])) AS wanted(value) CROSS JOIN LATERAL (${one.sql}) AS part
    ORDER BY ${sorted(columns)} LIMIT ${window}`;
  const { rows } = (await db.raw(
    `SELECT * FROM (
       SELECT *, row_number() OVER (ORDER BY ${sorted(columns)}) AS step, count(*) OVER () AS looked
       FROM (${oneOf ? several : one.sql}) AS looked_at
     ) AS steps WHERE hit OR step = looked ORDER BY step`,
    [...(oneOf ? [[...new Set(oneOf.values)]] : []), ...one.values] as never,
  )) as { rows: (Step & { looked: number })[] };
  return { steps: rows, looked: rows[0]?.looked ?? 0 };
}

function allOf(conditions: readonly Condition[]): Condition {
  if (conditions.length === 0) return { sql: 'true', values: [] };
  return {
    sql: conditions.map(({ sql }) => sql).join(' AND '),
    values: conditions.flatMap(({ values }) => values),
  };
}

function positionOf({ keys }: Walk, step: Step): Position {
  return keys.map((_key, index) => {
    const value = step[`k${index}`];
    return value instanceof Date ? value.toISOString() : String(value);
  });
}

/** True where some of the columns contain the text, in any case. */
export function contains(columns: readonly string[], text: string): Condition {
  const pattern = `%${text.replace(/[\\%_]/g, '\\$&')}%`;
  return {
    sql: `(${columns.map((column) => `${column} ILIKE ?`).join(' OR ')})`,
    values: columns.map(() => pattern),
  };
}

/** Brings rows into the order in which their ids were found; one that went meanwhile is left out. */
export function inOrder<Row extends { id: string }>(ids: readonly string[], rows: readonly Row[]): Row[] {
  const byId = new Map(rows.map((row) => [row.id, row]));
  return ids.flatMap((id) => byId.get(id) ?? []);
}

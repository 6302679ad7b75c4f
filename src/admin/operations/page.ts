/** One page of a list, and where the next one begins: the `cursor` to ask for it with, or null after the last. */
export type Page<Item> = { items: Item[]; nextCursor: string | null };

export type PageRequest = { limit: number; cursor?: string };

/** Makes a page of up to `limit` + 1 rows: the one too many tells that there is more. */
export function toPage<Item>(rows: Item[], limit: number, cursorOf: (last: Item) => string): Page<Item> {
  const items = rows.slice(0, limit);
  const last = items.at(-1);
  return { items, nextCursor: last !== undefined && rows.length > limit ? cursorOf(last) : null };
}

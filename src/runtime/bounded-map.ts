/**
 * A map that keeps the `max` entries that were set last.
 *
 * `lru-cache` is not used where entries come and go with every upload: its `delete` of the only entry clears arrays of `max`
 * places, which took a tenth of the time of a small photo over one connection.
 */
export class BoundedMap<K, V> extends Map<K, V> {
  readonly #max: number;

  constructor(max: number) {
    super();
    this.#max = max;
  }

  override set(key: K, value: V): this {
    // An entry that is set again becomes the newest.
    this.delete(key);
    const oldest = this.size < this.#max ? undefined : this.keys().next();
    if (oldest && !oldest.done) this.delete(oldest.value);
    return super.set(key, value);
  }
}

import { readdir } from 'node:fs/promises';
import type { Knex } from 'knex';

const FOLDER = new URL('../../migrations/', import.meta.url);
/** A checkout has `<name>.ts`; the package has `<name>.js`, with `<name>.d.ts` and `<name>.js.map` beside it. */
const EXTENSION = import.meta.url.endsWith('.ts') ? '.ts' : '.js';

/**
 * The migrations in `migrations/`, in order. Databases remember a migration by the name `<name>.ts`, whichever of the two
 * files ran it: a database that a checkout made is then served by the package, and the other way round.
 */
export const migrationSource: Knex.MigrationSource<string> = {
  async getMigrations() {
    const files = await readdir(FOLDER);
    const isMigration = (file: string) => file.endsWith(EXTENSION) && !file.endsWith('.d.ts');
    return files
      .filter(isMigration)
      .map((file) => `${file.slice(0, -EXTENSION.length)}.ts`)
      .sort();
  },
  getMigrationName: (name) => name,
  getMigration: (name) => import(new URL(name.replace(/\.ts$/, EXTENSION), FOLDER).href),
};

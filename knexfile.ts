import { migrationSettings } from './src/database/connection.ts';

/** For the knex command line: `DATABASE_URL=postgres://… npx knex migrate:latest`. The gateway itself does not read it. */
export default {
  client: 'pg',
  connection: process.env.DATABASE_URL,
  migrations: migrationSettings,
};

import type { Knex } from 'knex';

export async function up(db: Knex): Promise<void> {
  await db.raw(`
    -- The same tickets as before, NOT expired AND received < expected, without the counter: as long as no column of an index
    -- changes, an update of a ticket touches no index (HOT). The first half keeps it from serving lists of one status.
    DROP INDEX tickets_expiring;
    CREATE INDEX tickets_expiring ON tickets (expires_at) WHERE NOT expired AND status IN ('pending', 'uploading');

    -- The lists of all users' tickets. NULLs, of which there are none, stand where a list of one user's does not look for
    -- them, so that it cannot be served by these: along them the tickets of a user who left lie behind everybody else's,
    -- which the planner does not know.
    DROP INDEX tickets_by_time, tickets_by_status_time;
    CREATE INDEX tickets_by_time ON tickets (created_at DESC NULLS LAST, id DESC NULLS LAST);
    CREATE INDEX tickets_by_status_time ON tickets (status, created_at DESC NULLS LAST, id DESC NULLS LAST);
  `);
}

export async function down(db: Knex): Promise<void> {
  await db.raw(`
    DROP INDEX tickets_by_status_time, tickets_by_time, tickets_expiring;
    CREATE INDEX tickets_expiring ON tickets (expires_at) WHERE NOT expired AND received < expected;
    CREATE INDEX tickets_by_time ON tickets (created_at, id);
    CREATE INDEX tickets_by_status_time ON tickets (status, created_at, id);
  `);
}

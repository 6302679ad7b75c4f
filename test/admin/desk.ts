import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { readConfig } from '../../src/config.ts';
import { connectDatabase, type Database } from '../../src/database/connection.ts';
import type { Image, Ticket } from '../../src/database/models.ts';
import { createUser } from '../../src/identity/users.ts';
import type { ImageStatus } from '../../src/model/states.ts';
import { openTicket } from '../../src/tickets/open.ts';
import { readRows } from '../support/announcement.ts';
import { type Json, until } from '../support/client.ts';
import { createTestDatabase } from '../support/database.ts';
import { prepareTemplate } from '../support/template.ts';
import { type Admin, createAdmin } from './admin.ts';
import { type ImageTraits, makeImage } from './things.ts';

/** A database without a gateway, and an admin in front of it. */
export type Desk = {
  admin: Admin;
  db: Database;
  environment: { DATABASE_URL: string; DATA_DIR: string };
  directory: string;
  /** A new ticket of a new user. */
  ticket(images: number, more?: { description?: string; username?: string }): Promise<Ticket>;
  /** A new image in a ticket, brought to a state. */
  image(ticketId: string, status: ImageStatus, more?: ImageTraits): Promise<Image>;
  /** A row as it stands. */
  row(table: string, id: string): Promise<Json>;
  close(): Promise<void>;
};

export async function openDesk(): Promise<Desk> {
  await using opening = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'hopla-admin-'));
  opening.defer(() => rm(directory, { recursive: true, force: true }));
  const { databaseUrl, drop } = await createTestDatabase(prepareTemplate);
  opening.defer(drop);
  const db = connectDatabase(databaseUrl, { maxConnections: 4 });
  opening.defer(() => db.destroy());
  const environment = { DATABASE_URL: databaseUrl, DATA_DIR: directory };

  let users = 0;
  const opened = opening.move();
  return {
    db,
    directory,
    environment,
    admin: createAdmin(readConfig(environment)),
    async ticket(images, { description = null, username } = {} as never) {
      users += 1;
      const user = await createUser(db, { username: username ?? `owner-${users}` });
      const request = { images, description, metadata: null, expiresIn: 3600 };
      return (await openTicket(db, user.id, request, null)).ticket;
    },
    image: (ticketId, status, more) => makeImage(db, ticketId, status, more),
    row: (table, id) => db(table).where({ id }).first(),
    close: () => opened.disposeAsync(),
  };
}

/** Listens to what the database announces, as every gateway does. */
export async function listen(databaseUrl: string) {
  const client = new pg.Client({ connectionString: databaseUrl });
  const heard: Json[] = [];
  client.on('notification', ({ payload = '' }) => heard.push(...readRows(payload)));
  await client.connect();
  await client.query('LISTEN hopla_changes');
  return {
    heard,
    /** Resolves to the ticket of the first announcement that is as expected. */
    ticket: (description: string, expected: (ticket: Json) => boolean): Promise<Json> =>
      until(description, () => heard.map(({ ticket }) => ticket).find((ticket) => ticket && expected(ticket))),
    close: () => client.end(),
  };
}

import type { Database } from '../../database/connection.ts';
import { Image, Ticket, User } from '../../database/models.ts';
import { findUser } from '../../identity/users.ts';
import { HoplaError } from '../../model/errors.ts';
import { isId } from '../../model/ids.ts';

/** The user with this name, in any case. Throws `not-found`. */
export async function getUser(db: Database, username: string): Promise<User> {
  const user = await findUser(db, username);
  if (user) return user;
  throw new HoplaError('not-found', `There is no user ${username}; \`users list\` shows all.`);
}

/** The ticket with this id and its owner. Throws `ticket-not-found`. */
export async function getTicket(db: Database, ticketId: string): Promise<{ ticket: Ticket; owner: User }> {
  const ticket = isId(ticketId) ? await Ticket.query(db).findById(ticketId) : undefined;
  if (!ticket) throw noTicket(ticketId);
  return { ticket, owner: await User.query(db).findById(ticket.userId).throwIfNotFound() };
}

export function noTicket(ticketId: string): HoplaError {
  return new HoplaError('ticket-not-found', `There is no ticket ${ticketId}; \`tickets list\` shows their full ids.`);
}

/** The image with this id. Throws `upload-not-found`. */
export async function getImage(db: Database, imageId: string): Promise<Image> {
  const image = isId(imageId) ? await Image.query(db).findById(imageId) : undefined;
  if (image) return image;
  const hint = '`images list --ticket ID` shows their full ids';
  throw new HoplaError('upload-not-found', `There is no image ${imageId}; ${hint}.`);
}

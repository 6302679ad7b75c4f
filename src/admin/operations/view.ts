import type { Image, Ticket, User } from '../../database/models.ts';
import { type OffsetOf, viewDetail, viewImage, viewTicket } from '../../tickets/view.ts';
import type { TicketDetail } from './tickets.ts';
import type { OwnedToken } from './tokens.ts';

/** A user as scripts and the panel see one. */
export function viewUser(user: User) {
  return {
    id: user.id,
    username: user.username,
    isAdmin: user.isAdmin,
    hasPassword: user.passwordHash !== null,
    createdAt: user.createdAt.toISOString(),
    updatedAt: user.updatedAt.toISOString(),
    disabledAt: user.disabledAt?.toISOString() ?? null,
  };
}

/** A token without its secret. `state` is what stands in the way of using it, or `valid`. */
export function viewToken(token: OwnedToken) {
  return {
    id: token.id,
    kind: token.kind,
    state: stateOf(token),
    username: token.username,
    ticketId: token.ticketId,
    label: token.label,
    createdAt: token.createdAt.toISOString(),
    expiresAt: token.expiresAt?.toISOString() ?? null,
    lastUsedAt: token.lastUsedAt?.toISOString() ?? null,
    revokedAt: token.revokedAt?.toISOString() ?? null,
  };
}

function stateOf({ revokedAt, expiresAt, disabledAt }: OwnedToken): 'valid' | 'revoked' | 'expired' | 'user-disabled' {
  if (revokedAt) return 'revoked';
  if (expiresAt && expiresAt.getTime() <= Date.now()) return 'expired';
  return disabledAt ? 'user-disabled' : 'valid';
}

/** A ticket as the HTTP contract shows it, and whose it is. */
export function viewOwnedTicket(ticket: Ticket, username: string, baseUrl: string) {
  return { ...viewTicket(ticket, baseUrl), username };
}

/** A ticket's detail as the HTTP contract shows it, and whose it is. */
export async function viewOwnedDetail({ ticket, owner, images }: TicketDetail, baseUrl: string, offsetOf: OffsetOf) {
  const detail = await viewDetail(ticket, images, baseUrl, offsetOf);
  const shown = detail.images.map((image, nth) => ({ ...image, ...vendorError(images[nth]) }));
  return { ...detail, images: shown, username: owner.username };
}

/** An image as the HTTP contract shows it, its ticket, and the staging area that has or had its file. */
export async function viewPlacedImage(image: Image, offsetOf: OffsetOf) {
  const offset = image.status === 'uploading' ? await offsetOf(image) : 0;
  return { ...viewImage(image, offset), ...vendorError(image), ticketId: image.ticketId, staging: image.staging };
}

/** An image's error in the words of whoever reported it: the admin side alone is told what a store says. */
function vendorError(image: Image | undefined) {
  return { error: image?.errorCode ? { code: image.errorCode, message: image.errorMessage ?? '' } : null };
}

import type { Image, Ticket } from '../database/models.ts';
import { errorKinds, isErrorCode } from '../model/errors.ts';

/** Bytes of an image that are here: asked for while it is uploading, and known afterwards. */
export type OffsetOf = (image: Pick<Image, 'id' | 'staging'>) => number | Promise<number>;

/** A ticket as the HTTP contract shows it. `baseUrl` has no slash at its end. */
export function viewTicket(ticket: Ticket, baseUrl: string) {
  const { id, expected, claimed, received, stored, failed } = ticket;
  return {
    id,
    status: ticket.status,
    description: ticket.description,
    metadata: ticket.metadata,
    // The columns count what an image has reached; clients see in which state images are now.
    counts: { expected, uploading: claimed - received, received: received - stored - failed, stored, failed },
    bytes: { received: ticket.bytesReceived, stored: ticket.bytesStored, total: ticket.bytesTotal },
    createdAt: ticket.createdAt.toISOString(),
    updatedAt: ticket.updatedAt.toISOString(),
    expiresAt: ticket.expiresAt.toISOString(),
    completedAt: ticket.completedAt?.toISOString() ?? null,
    uploadUrl: `${baseUrl}/v1/tickets/${id}/uploads`,
    eventsUrl: `${baseUrl}/v1/tickets/${id}/events`,
    version: ticket.version,
  };
}

/** An image as the HTTP contract shows it. `offset` counts for one that is uploading. */
export function viewImage(image: Image, offset: number) {
  return {
    id: image.id,
    slot: image.slot,
    filename: image.filename,
    contentType: image.contentType,
    size: image.size,
    offset: image.receivedAt ? image.size : offset,
    status: image.status,
    sha256: image.sha256,
    width: image.width,
    height: image.height,
    orientation: image.orientation,
    displayWidth: image.displayWidth,
    displayHeight: image.displayHeight,
    format: image.format,
    url: image.url,
    storage: viewStorage(image),
    attempts: image.attempts,
    error: viewError(image),
    createdAt: image.createdAt.toISOString(),
    receivedAt: image.receivedAt?.toISOString() ?? null,
    storedAt: image.storedAt?.toISOString() ?? null,
  };
}

/** What went wrong with an image, in words of our own where the text of the row may be the store's. */
function viewError({ errorCode: code, errorMessage }: Image): { code: string; message: string } | null {
  if (code === null) return null;
  const kind = isErrorCode(code) ? errorKinds[code] : null;
  return { code, message: (kind?.expose ? errorMessage : kind?.title) ?? '' };
}

/** What the store says of its asset; of the image itself it may be another size and format. */
function viewStorage(image: Image) {
  const { storageProvider: provider, storageKey: key, storageAssetId: assetId, storageVersion: version } = image;
  const { storageWidth: width, storageHeight: height, storageFormat: format } = image;
  return provider && key ? { provider, key, assetId, version, width, height, format } : null;
}

/** A ticket with its images: the detail, and the snapshot that opens an event stream. */
export async function viewDetail(ticket: Ticket, images: Image[], baseUrl: string, offsetOf: OffsetOf) {
  const views = images.map(async (image) => viewImage(image, image.status === 'uploading' ? await offsetOf(image) : 0));
  return { ...viewTicket(ticket, baseUrl), images: await Promise.all(views) };
}

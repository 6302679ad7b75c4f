import { z } from 'zod';
import { imageStatuses, ticketStatuses } from '../model/states.ts';

// What the API answers, for its OpenAPI document; view.ts makes it, and a test holds the two together.

const Time = z.iso.datetime().meta({ examples: ['2026-11-23T07:16:58.528Z'] });
const Id = z.uuid().meta({ description: 'UUIDv7', examples: ['01a20744-42d0-7f3d-b606-c37eb7a9349b'] });
const Count = z.int().min(0);
const Bytes = z.int().min(0).describe('bytes');

export const ImageView = z
  .strictObject({
    id: Id.describe('also the tus upload id'),
    slot: z.string().max(64).nullable().describe('the client’s own name for this place in the ticket'),
    filename: z.string().max(255).nullable().describe('as the client named it; never trusted'),
    contentType: z.string().nullable().describe('found by looking at the bytes'),
    size: Bytes.nullable().describe('bytes; null until a deferred length is declared'),
    offset: Bytes.describe('bytes that are here, or were before they went on to the storage'),
    status: z.enum(imageStatuses),
    sha256: z.string().nullable().describe('lower-case hex, of the whole file'),
    width: z.int().nullable().describe('pixels as they are stored in the file, before they are turned'),
    height: z.int().nullable().describe('likewise'),
    orientation: z
      .int()
      .min(1)
      .max(8)
      .nullable()
      .describe('how a viewer turns the pixels, as EXIF counts it; null when the file does not say'),
    displayWidth: z.int().nullable().describe('pixels as a viewer shows them: cropped and turned as the file says'),
    displayHeight: z.int().nullable().describe('likewise'),
    format: z
      .string()
      .nullable()
      .meta({ examples: ['jpg'] }),
    url: z.url().nullable().describe('where the stored image is'),
    storage: z
      .strictObject({
        provider: z.string(),
        key: z.string(),
        assetId: z.string().nullable(),
        version: z.string().nullable(),
        width: z.int().nullable().describe('pixels of the asset, which the store may have turned'),
        height: z.int().nullable().describe('likewise'),
        format: z.string().nullable().describe('of the asset, in the store’s words'),
      })
      .nullable()
      .describe('what the store says of its asset'),
    attempts: Count.describe('tries of the transfer that counted'),
    error: z
      .strictObject({ code: z.string(), message: z.string() })
      .nullable()
      .describe(
        'why it was rejected or failed, or is tried again: a code of a refused upload, or `storage-refused`, `storage-misconfigured`, `storage-unavailable`, `storage-mismatch`, `staged-file-lost`. The words are those of this gateway, never those of the store. An image that was received is never rejected: it is `failed`, and kept, until an administrator retries or deletes it',
      ),
    createdAt: Time,
    receivedAt: Time.nullable(),
    storedAt: Time.nullable(),
  })
  .meta({ id: 'Image' });

export const TicketView = z
  .strictObject({
    id: Id,
    status: z.enum(ticketStatuses),
    description: z.string().max(255).nullable(),
    metadata: z.record(z.string(), z.unknown()).nullable(),
    counts: z
      .strictObject({ expected: Count, uploading: Count, received: Count, stored: Count, failed: Count })
      .describe('images in each state now; `received` includes those being transferred'),
    bytes: z
      .strictObject({ received: Bytes, stored: Bytes, total: Bytes })
      .describe('of live images: declared in all, received so far (those stored since included), and stored'),
    createdAt: Time,
    updatedAt: Time,
    expiresAt: Time.describe('when no more images are taken'),
    completedAt: Time.nullable(),
    uploadUrl: z.url().describe('the tus endpoint of this ticket'),
    eventsUrl: z.url(),
    version: z.int().min(1).describe('grows by one with every visible change'),
  })
  .meta({ id: 'Ticket' });

export const OpenedTicket = TicketView.extend({
  uploadToken: z.string().describe('good for this ticket alone; shown only here'),
}).meta({ id: 'OpenedTicket' });

export const TicketDetail = TicketView.extend({ images: z.array(ImageView) }).meta({ id: 'TicketDetail' });

export const TicketPageView = z
  .strictObject({ items: z.array(TicketView), nextCursor: z.string().nullable() })
  .meta({ id: 'TicketPage' });

export const UploadTokenView = z
  .strictObject({
    id: Id,
    createdAt: Time,
    lastUsedAt: Time.nullable().describe('a minute old at most, while the token is used'),
    expiresAt: Time.nullable(),
  })
  .meta({ id: 'UploadToken', description: 'an upload token; the token itself is shown only when it is issued' });
export type UploadTokenView = z.output<typeof UploadTokenView>;

export const UploadTokenPage = z
  .strictObject({ items: z.array(UploadTokenView), nextCursor: z.string().nullable() })
  .meta({ id: 'UploadTokenPage' });

// One story that the examples tell: a claim with three photos, one stored, one on its way here, one still to come.

export const TICKET_ID = '01a20744-42d0-7f3d-b606-c37eb7a9349b';
export const UPLOAD_TOKEN_ID = '01a20744-42d3-7a10-8f4e-5b6c1d2e3f40';
export const IMAGE_ID = '01a20744-5b7e-7c1a-9d52-7f0f6c3a1e08';
const ARRIVING_ID = '01a20744-6c02-7a44-8e10-2b9b7d5540c3';
const ORIGIN = 'https://uploads.example.com';
export const UPLOADS_URL = `${ORIGIN}/v1/tickets/${TICKET_ID}/uploads`;
const SHA256 = '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08';
const TOKEN = 'hop_0dXcEwZ1vYt3n5q7s9u2x4z6B8D0F2H4J6L8N0P2';

export const credentials = { username: 'alice', password: 'a sentence of her own' };

export const session = {
  token: TOKEN,
  tokenType: 'Bearer',
  expiresAt: '2026-11-30T07:16:58.528Z',
  user: { id: '01a20740-0000-7000-8000-000000000001', username: 'alice' },
};

export const passwordRequest = { current: 'demo-password', next: 'correct horse battery staple' };

export const ticketRequest = { images: 3, description: 'Claim 4711', metadata: { claim: 4711 } };

const opened = {
  id: TICKET_ID,
  status: 'pending',
  description: 'Claim 4711',
  metadata: { claim: 4711 },
  counts: { expected: 3, uploading: 0, received: 0, stored: 0, failed: 0 },
  bytes: { received: 0, stored: 0, total: 0 },
  createdAt: '2026-11-23T07:16:58.528Z',
  updatedAt: '2026-11-23T07:16:58.528Z',
  expiresAt: '2026-11-24T07:16:58.528Z',
  completedAt: null,
  uploadUrl: UPLOADS_URL,
  eventsUrl: `${ORIGIN}/v1/tickets/${TICKET_ID}/events`,
  version: 1,
};

export const uploadTokenPage = {
  items: [
    {
      id: UPLOAD_TOKEN_ID,
      createdAt: '2026-11-23T07:16:58.528Z',
      lastUsedAt: '2026-11-23T07:17:02.014Z',
      expiresAt: '2026-11-25T07:16:58.528Z',
    },
  ],
  nextCursor: null,
};

export const openedTicket = { ...opened, uploadToken: TOKEN };

const ticket = {
  ...opened,
  status: 'uploading',
  counts: { expected: 3, uploading: 1, received: 0, stored: 1, failed: 0 },
  bytes: { received: 3_000_000, stored: 2_190_194, total: 4_166_773 },
  updatedAt: '2026-11-23T07:17:09.310Z',
  version: 7,
};

export const image = {
  id: IMAGE_ID,
  slot: 'photo-1',
  filename: 'IMG_0815.jpg',
  contentType: 'image/jpeg',
  size: 2_190_194,
  offset: 2_190_194,
  status: 'stored',
  sha256: SHA256,
  width: 3264,
  height: 2448,
  orientation: 6,
  displayWidth: 2448,
  displayHeight: 3264,
  format: 'jpg',
  url: `https://res.cloudinary.com/demo/image/upload/v1795418228/hopla/${IMAGE_ID}.jpg`,
  storage: {
    provider: 'cloudinary',
    key: `hopla/${IMAGE_ID}`,
    assetId: '3515c6000a548515f1134043f9785c2f',
    version: '1795418228',
    width: 3264,
    height: 2448,
    format: 'jpg',
  },
  attempts: 0,
  error: null,
  createdAt: '2026-11-23T07:17:02.014Z',
  receivedAt: '2026-11-23T07:17:05.702Z',
  storedAt: '2026-11-23T07:17:09.310Z',
};

const arriving = {
  ...image,
  id: ARRIVING_ID,
  slot: 'photo-2',
  filename: 'IMG_0816.jpg',
  size: 1_976_579,
  offset: 809_806,
  status: 'uploading',
  sha256: null,
  width: null,
  height: null,
  orientation: null,
  displayWidth: null,
  displayHeight: null,
  format: null,
  url: null,
  storage: null,
  createdAt: '2026-11-23T07:17:06.120Z',
  receivedAt: null,
  storedAt: null,
};

export const ticketDetail = { ...ticket, images: [image, arriving] };
export const ticketPage = { items: [ticket], nextCursor: 'MjAyNi0xMS0yM1QwNzoxNjo1OC41MjhafDAxYTIwNzQ0' };

export const progress = {
  ticketId: TICKET_ID,
  imageId: ARRIVING_ID,
  leg: 'upload',
  bytes: 809_806,
  total: 1_976_579,
};
export const ticketEvent = { ticketId: TICKET_ID, ...ticket };
export const imageEvent = { ticketId: TICKET_ID, ...image };
export const endEvent = { ticketId: TICKET_ID, status: 'completed' };

/** As they come over the wire. */
export function eventText(events: readonly { event: string; data: object; id?: number | string }[]): string {
  const blocks = events.map(
    ({ event, data, id }) =>
      `${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`,
  );
  return `retry: 2000\n${blocks.join('')}`;
}

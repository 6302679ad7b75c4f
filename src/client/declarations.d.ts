// What `hopla/client` exports. Written by hand, so that who uses it needs neither zod nor the server's sources;
// test/client/types.test.ts holds it against the schemas that the API is described by.

export type TicketStatus = 'pending' | 'uploading' | 'processing' | 'completed' | 'expired';
export type ImageStatus =
  | 'uploading'
  | 'received'
  | 'transferring'
  | 'stored'
  | 'failed'
  | 'rejected'
  | 'cancelled'
  | 'expired';

export type Ticket = {
  id: string;
  status: TicketStatus;
  description: string | null;
  metadata: Record<string, unknown> | null;
  /** Images in each state now; `received` includes those being transferred. */
  counts: { expected: number; uploading: number; received: number; stored: number; failed: number };
  bytes: { received: number; stored: number; total: number };
  createdAt: string;
  updatedAt: string;
  expiresAt: string;
  completedAt: string | null;
  uploadUrl: string;
  eventsUrl: string;
  /** Grows by one with every visible change. */
  version: number;
};

/** `uploadToken` is good for this ticket alone: what a browser or a phone gets. */
export type OpenedTicket = Ticket & { uploadToken: string };
export type TicketDetail = Ticket & { images: Image[] };
export type TicketPage = { items: Ticket[]; nextCursor: string | null };

export type Image = {
  id: string;
  slot: string | null;
  filename: string | null;
  contentType: string | null;
  size: number | null;
  offset: number;
  status: ImageStatus;
  sha256: string | null;
  /** Pixels as they are stored in the file. */
  width: number | null;
  height: number | null;
  /** How a viewer turns them, as EXIF counts it; null when the file does not say. */
  orientation: number | null;
  /** Pixels as a viewer shows them: cropped and turned. */
  displayWidth: number | null;
  displayHeight: number | null;
  format: string | null;
  /** Where the stored image is. */
  url: string | null;
  /** What the store says of its asset, which it may have turned or made of another format. */
  storage: {
    provider: string;
    key: string;
    assetId: string | null;
    version: string | null;
    width: number | null;
    height: number | null;
    format: string | null;
  } | null;
  attempts: number;
  error: { code: string; message: string } | null;
  createdAt: string;
  receivedAt: string | null;
  storedAt: string | null;
};

export type Progress = {
  ticketId: string;
  imageId: string;
  /** `upload`: from the client to hopla; `transfer`: from hopla to the storage. */
  leg: 'upload' | 'transfer';
  bytes: number;
  total: number | null;
};

/** One server-sent event. */
export type TicketEvent =
  | { type: 'snapshot'; data: TicketDetail }
  | { type: 'ticket'; data: Ticket & { ticketId: string } }
  | { type: 'image'; data: Image & { ticketId: string } }
  | { type: 'progress'; data: Progress }
  | { type: 'end'; data: { ticketId: string; status: TicketStatus } };

export type TicketRequest = {
  /** 1…1000 */
  images: number;
  description?: string | null;
  metadata?: Record<string, unknown> | null;
  /** Seconds, 60…604800; a day when left out. */
  expiresIn?: number;
};

export type TicketQuery = {
  status?: TicketStatus[];
  createdFrom?: string;
  createdTo?: string;
  limit?: number;
  cursor?: string;
};

/** Who signed in, and until when the token works. */
export type Session = {
  token: string;
  tokenType: 'Bearer';
  expiresAt: string;
  user: { id: string; username: string };
};

/** What of a ticket its holder needs. The upload token is used where there is one, else the token of the client. */
export type TicketAccess = Pick<Ticket, 'id' | 'uploadUrl' | 'eventsUrl'> & { uploadToken?: string };

/** In browsers a File or a Blob; in Node a Buffer or `fs.createReadStream(path)`. */
export type Bytes = ConstructorParameters<typeof import('tus-js-client').Upload>[0] | import('node:stream').Readable;

export type Photo = {
  /** The client's own name for this place in the ticket, at most 64 characters: what a repeat finds its upload by. */
  slot: string;
  /** A function is called when it is this photo's turn, so that a thousand files are not open at once. */
  data: Bytes | (() => Bytes | Promise<Bytes>);
  filename?: string;
  filetype?: string;
  /** Hex, of the whole file: checked when it has arrived. */
  sha256?: string;
};

export type PhotoProgress = { slot: string; bytes: number; total: number };

/** `received`: durable at hopla, and its transfer queued. `refused`: it is not going to be, and `error` says why. */
export type PhotoResult =
  | { slot: string; status: 'received'; imageId: string }
  | { slot: string; status: 'refused'; error: ProblemError };

export type UploadOptions = {
  /** Photos sent at once; 3 when left out. */
  concurrency?: number;
  onProgress?: (progress: PhotoProgress) => void;
  /** As soon as one photo is through or refused. */
  onResult?: (result: PhotoResult) => void;
  signal?: AbortSignal | undefined;
};

export type Client = {
  /** Opens a ticket. Repeated by itself, under one idempotency key, when the answer was lost or it should come back later. */
  openTicket(
    request: TicketRequest,
    options?: { idempotencyKey?: string; signal?: AbortSignal | undefined },
  ): Promise<OpenedTicket>;
  ticket(id: string, options?: { signal?: AbortSignal | undefined }): Promise<TicketDetail>;
  /** Revokes the token of this client, if it is a user token; with `everywhere` all sessions and login tokens of the user. */
  logout(options?: { everywhere?: boolean; signal?: AbortSignal | undefined }): Promise<void>;
  /** Own tickets, newest first, one page. */
  tickets(query?: TicketQuery, options?: { signal?: AbortSignal | undefined }): Promise<TicketPage>;
  /**
   * Uploads photos into a ticket and resolves when each is received or refused, in their order. One that is refused
   * does not keep the others. Called again with the same slots it goes on where the ticket stands.
   */
  upload(ticket: TicketAccess, photos: Photo[], options?: UploadOptions): Promise<PhotoResult[]>;
  /** Follows a ticket live until its end, over lost connections. Leave the loop, or abort, to stop. */
  follow(ticket: TicketAccess, options?: { signal?: AbortSignal | undefined }): AsyncGenerator<TicketEvent, void, void>;
  /**
   * Resolves when all images of the ticket are stored. Rejects with a ProblemError when that will not happen by itself:
   * `ticket-expired`, or the code of an image's error once every image is either stored or `failed`.
   */
  delivered(
    ticket: TicketAccess,
    options?: { onEvent?: (event: TicketEvent) => void; signal?: AbortSignal | undefined },
  ): Promise<TicketDetail>;
};

/** Where a gateway is, and a user token; or the upload token of the one ticket that is worked with. */
export type ClientOptions = { url: string | URL; token: string };

/** A user token for a name and a password. */
export declare function login(credentials: {
  url: string | URL;
  username: string;
  password: string;
  signal?: AbortSignal | undefined;
}): Promise<Session>;

/**
 * Reads an answer that is not a success, for those who call the API by other means: a problem document, or what something
 * in between said. `retryAfter` is the header.
 */
export declare function readProblem(text: string, status: number, retryAfter?: string | null): ProblemError;

export declare function createClient(options: ClientOptions): Client;

/** An answer that is not a success, as its problem document (RFC 9457) tells it. */
export declare class ProblemError extends Error {
  constructor(
    message: string,
    details: {
      code: string;
      status: number;
      problem?: Record<string, unknown>;
      retryAfterMs?: number | undefined;
      cause?: unknown;
    },
  );
  /** One of the stable codes of the API; `unreachable` when there was no answer, `unknown` when it came from something in between. */
  readonly code: string;
  /** HTTP status, 0 without an answer. */
  readonly status: number;
  readonly problem: Record<string, unknown>;
  readonly retryAfterMs: number | undefined;
}

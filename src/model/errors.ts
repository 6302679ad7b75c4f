/** What the error table says of one code. `expose` says whether `detail` may be shown to a client. */
type ErrorKind = { status: number; title: string; expose: boolean };

const shown = (status: number, title: string): ErrorKind => ({ status, title, expose: true });
const hidden = (status: number, title: string): ErrorKind => ({ status, title, expose: false });

/** Every stable error code with its HTTP status. The HTTP contract names them; clients decide by them. */
export const errorKinds = {
  'malformed-json': shown(400, 'The body is not valid JSON'),
  'malformed-request': shown(400, 'The request cannot be understood'),
  unauthorized: shown(401, 'A valid bearer token is needed'),
  'invalid-credentials': shown(401, 'User name or password is wrong'),
  forbidden: shown(403, 'This token may not do that'),
  'quota-exceeded': shown(403, 'The user has reached a limit of this service'),
  'not-found': shown(404, 'There is nothing at this address'),
  'ticket-not-found': shown(404, 'There is no such ticket'),
  'upload-not-found': shown(404, 'There is no such upload in this ticket'),
  'token-not-found': shown(404, 'There is no such upload token of this ticket'),
  'method-not-allowed': shown(405, 'This address does not take that method'),
  'offset-conflict': shown(409, 'The upload stands at another offset'),
  'upload-gone': shown(410, 'The upload has ended and cannot go on'),
  'ticket-expired': shown(410, 'The time of this ticket has run out'),
  'unsupported-tus-version': shown(412, 'The tus protocol version is missing or not 1.0.0'),
  'body-too-large': shown(413, 'The request body is too large'),
  'image-too-large': shown(413, 'The image is larger than allowed'),
  'length-exceeded': shown(413, 'More bytes came than the upload has'),
  'unsupported-media-type': shown(415, 'The content type is not the one expected here'),
  'unsupported-image': shown(415, 'This is not an image of an accepted type'),
  'invalid-request': shown(422, 'The request has invalid values'),
  'idempotency-key-reused': shown(422, 'The idempotency key was used with another body'),
  'ticket-full': shown(422, 'Every place of this ticket is taken'),
  'empty-image': shown(422, 'An image has at least one byte'),
  'slot-mismatch': shown(422, 'This slot holds another image'),
  'image-too-many-pixels': shown(422, 'The image has more pixels than allowed'),
  'checksum-mismatch': shown(422, 'The bytes do not match the announced checksum'),
  'upload-finished': shown(422, 'The upload is complete and cannot be taken back'),
  'upload-locked': shown(423, 'Another request holds this upload'),
  'upload-uncommitted': shown(423, 'The bytes are here but not yet durably recorded'),
  'upload-unavailable': shown(423, 'The upload cannot go on just now'),
  'too-many-requests': shown(429, 'Too many requests'),
  'headers-too-large': shown(431, 'The request headers are too large'),
  // A status of tus (1.0.0, Checksum): these bytes are damaged, the upload is not.
  'upload-checksum-mismatch': shown(460, 'The bytes of this request do not match its checksum'),
  'internal-error': hidden(500, 'Something went wrong here'),
  'service-unavailable': hidden(503, 'The service cannot answer just now'),
  'staging-full': shown(507, 'There is no room for this image just now'),
  'user-staging-full': shown(507, 'Too many images of this user wait for the storage'),
  // Of transfers: seen in an image's `error`, never as an HTTP answer.
  'storage-refused': hidden(502, 'The storage refuses this image; it is kept here until an administrator acts'),
  'storage-misconfigured': hidden(502, 'The storage does not accept our account'),
  'storage-unavailable': hidden(502, 'The storage cannot be reached or fails'),
  'storage-mismatch': hidden(502, 'The storage holds other bytes than were sent'),
  'staged-file-lost': hidden(500, 'The staged file of this image is gone, or was changed'),
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof errorKinds;

export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(errorKinds, text);
}

/** What may go with an error: members of the problem document, response headers, and the cause for the log. */
export type ErrorExtras = {
  members?: Record<string, unknown>;
  headers?: Record<string, string>;
  /** Milliseconds after which a repeat makes sense. */
  retryAfterMs?: number;
  cause?: unknown;
};

/** The one error of hopla. `detail` says what to change and is shown to clients only where the table exposes it. */
export class HoplaError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  readonly title: string;
  readonly expose: boolean;
  readonly members: Record<string, unknown>;
  readonly headers: Record<string, string>;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, detail?: string, extras: ErrorExtras = {}) {
    const kind = errorKinds[code];
    super(detail ?? kind.title, { cause: extras.cause });
    this.name = 'HoplaError';
    this.code = code;
    this.status = kind.status;
    this.title = kind.title;
    this.expose = kind.expose;
    this.members = extras.members ?? {};
    this.retryAfterMs = extras.retryAfterMs;
    // RFC 9110 section 10.2.3: Retry-After counts whole seconds; round up, so that nobody comes back too early.
    const retryAfter =
      extras.retryAfterMs === undefined ? {} : { 'Retry-After': `${Math.ceil(extras.retryAfterMs / 1000)}` };
    this.headers = { ...retryAfter, ...extras.headers };
  }
}

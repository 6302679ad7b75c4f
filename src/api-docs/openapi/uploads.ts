import { CHECKSUM_ALGORITHMS } from '../../uploads/session/checksum.ts';
import * as examples from './examples.ts';
import { ALWAYS, answer, header, OUTAGES, parameter, problems, ticketParameter } from './parts.ts';

const { size, filename, slot } = examples.image;
const base64 = (text: string) => Buffer.from(text).toString('base64');
const METADATA = `filename ${base64(filename)},slot ${base64(slot)}`;
const EXPIRES = 'Tue, 24 Nov 2026 07:16:58 GMT';

const imageParameter = parameter('path', 'imageId', 'id of the image, which is the tus upload id', {
  type: 'string',
  format: 'uuid',
  examples: [examples.IMAGE_ID],
});
const tusResumable = parameter(
  'header',
  'Tus-Resumable',
  'the protocol version',
  { type: 'string', const: '1.0.0' },
  true,
);
const checksum = parameter(
  'header',
  'Upload-Checksum',
  'algorithm and base64 digest of the bytes of this request (crc32: its four bytes in network order); or as a trailer that `Trailer` announces. Bytes that differ are 460, and as if they had not come',
  { type: 'string', examples: ['sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0='] },
);
const offset = { 'Upload-Offset': header('bytes that are here', 809_806) };
const expires = { 'Upload-Expires': header('when an unfinished upload ends', EXPIRES) };
const octets = { content: { 'application/offset+octet-stream': { schema: { type: 'string', format: 'binary' } } } };

const UPLOAD_ERRORS = ['unauthorized', 'ticket-not-found', 'unsupported-tus-version', ...ALWAYS] as const;
const IMAGE_ERRORS = [
  'unsupported-media-type',
  'unsupported-image',
  'image-too-many-pixels',
  'checksum-mismatch',
  'length-exceeded',
  'upload-checksum-mismatch',
] as const;
const LATER = ['upload-locked', 'upload-uncommitted', 'upload-unavailable'] as const;

const TUS =
  'Any tus 1.0.0 client speaks this; see https://tus.io/protocols/resumable-upload. Extensions: creation, creation-with-upload, creation-defer-length, termination, expiration, checksum (of the bytes of one request), checksum-trailer. Where only GET and POST get through, a POST with `X-HTTP-Method-Override` does the others.';

const describe = (operationId: string, summary: string) => ({
  operationId,
  tags: ['Uploads'],
  summary,
  responses: {
    200: answer('Told in headers', {
      headers: {
        'Tus-Version': header('versions', '1.0.0'),
        'Tus-Extension': header(
          'extensions',
          'creation,creation-with-upload,creation-defer-length,termination,expiration,checksum,checksum-trailer',
        ),
        'Tus-Checksum-Algorithm': header('what Upload-Checksum may name', CHECKSUM_ALGORITHMS),
        'Tus-Max-Size': header('bytes', 52_428_800),
      },
    }),
    204: answer('The preflight of a browser'),
    ...problems('unauthorized', 'ticket-not-found', ...ALWAYS, ...OUTAGES),
  },
});

export const uploadPaths = {
  '/v1/tickets/{ticketId}/uploads': {
    parameters: [ticketParameter],
    post: {
      operationId: 'createUpload',
      tags: ['Uploads'],
      summary: 'Claim a place and create an upload (tus creation)',
      description: `${TUS} \`Upload-Metadata\` keys: \`filename\`, \`filetype\`, \`sha256\` (hex, of the whole file), \`slot\` (≤ 64 characters: a repeat with the same slot and size finds the upload it began, and takes no second place; name one when the whole image goes with its creation).`,
      parameters: [
        tusResumable,
        parameter('header', 'Upload-Length', 'size of the image in bytes', {
          type: 'integer',
          minimum: 1,
          examples: [size],
        }),
        parameter('header', 'Upload-Defer-Length', 'instead of Upload-Length: it comes with a later PATCH', {
          type: 'string',
          const: '1',
        }),
        parameter('header', 'Upload-Metadata', 'comma-separated pairs of a key and a base64 value', {
          type: 'string',
          examples: [METADATA],
        }),
        checksum,
      ],
      requestBody: { description: 'may carry the first bytes already, or all of them', ...octets },
      responses: {
        201: answer('Created, or found by its slot. An offset below the length: go on with PATCH', {
          headers: {
            Location: header('address of the upload', `${examples.UPLOADS_URL}/${examples.IMAGE_ID}`),
            ...offset,
            ...expires,
          },
        }),
        ...problems(
          ...UPLOAD_ERRORS,
          'ticket-expired',
          'image-too-large',
          'ticket-full',
          'empty-image',
          'slot-mismatch',
          'invalid-request',
          ...IMAGE_ERRORS,
          'upload-locked',
          'quota-exceeded',
          'too-many-requests',
          ...OUTAGES,
          'staging-full',
          'user-staging-full',
        ),
      },
    },
    options: describe('describeUploads', 'What of tus is spoken here'),
  },
  '/v1/tickets/{ticketId}/uploads/{imageId}': {
    parameters: [ticketParameter, imageParameter],
    head: {
      operationId: 'showOffset',
      tags: ['Uploads'],
      summary: 'Where an upload stands',
      description:
        'Not for progress: a HEAD takes the upload over, and cuts the PATCH that is running. Errors have no body.',
      parameters: [tusResumable],
      responses: {
        200: answer('Offset = length means: durable, and its transfer queued', {
          headers: {
            ...offset,
            'Upload-Length': header('bytes', size),
            'Upload-Metadata': header('as it came', METADATA),
            ...expires,
          },
        }),
        ...problems(...UPLOAD_ERRORS, 'upload-not-found', 'upload-gone', ...LATER),
      },
    },
    patch: {
      operationId: 'appendToUpload',
      tags: ['Uploads'],
      summary: 'Send the next bytes',
      parameters: [
        tusResumable,
        parameter(
          'header',
          'Upload-Offset',
          'where these bytes begin',
          { type: 'integer', minimum: 0, examples: [0] },
          true,
        ),
        parameter('header', 'Upload-Length', 'size of the image, where creation deferred it', {
          type: 'integer',
          minimum: 1,
          examples: [size],
        }),
        checksum,
      ],
      requestBody: { required: true, ...octets },
      responses: {
        204: answer('Taken. Offset = length means: durable, and its transfer queued', {
          headers: { ...offset, ...expires },
        }),
        ...problems(
          ...UPLOAD_ERRORS,
          'upload-not-found',
          'offset-conflict',
          'upload-gone',
          'image-too-large',
          'empty-image',
          'invalid-request',
          ...IMAGE_ERRORS,
          ...LATER,
          'staging-full',
          'user-staging-full',
        ),
      },
    },
    delete: {
      operationId: 'cancelUpload',
      tags: ['Uploads'],
      summary: 'Cancel an unfinished upload and free its place',
      parameters: [tusResumable],
      responses: {
        204: answer('Cancelled'),
        ...problems(...UPLOAD_ERRORS, 'upload-not-found', 'upload-gone', 'upload-finished', ...LATER),
      },
    },
    options: describe('describeUpload', 'The same of one upload'),
  },
};

import * as examples from './examples.ts';
import { ALWAYS, answer, json, OUTAGES, parameter, problems, ticketParameter } from './parts.ts';

const BODY_ERRORS = ['malformed-json', 'body-too-large', 'unsupported-media-type', 'invalid-request'] as const;

const tokenParameter = parameter('path', 'tokenId', 'id of the upload token', {
  type: 'string',
  format: 'uuid',
  examples: [examples.UPLOAD_TOKEN_ID],
});

export const identityPaths = {
  '/v1/auth/login': {
    post: {
      operationId: 'login',
      tags: ['Identity'],
      summary: 'Get a user token for a user name and password',
      security: [],
      requestBody: { required: true, ...json('Credentials', examples.credentials) },
      responses: {
        201: answer('The token; send it as `Authorization: Bearer <token>`', json('Session', examples.session)),
        ...problems(...BODY_ERRORS, 'invalid-credentials', 'too-many-requests', ...ALWAYS, ...OUTAGES),
      },
    },
  },
  '/v1/auth/logout': {
    post: {
      operationId: 'logout',
      tags: ['Identity'],
      summary: 'Revoke the token presented',
      description:
        'With `everywhere` all sessions and login tokens of the user end. Tokens that an admin issued stay. The body may be left out.',
      requestBody: { required: false, ...json('LogoutRequest', { everywhere: false }) },
      responses: {
        204: answer('Revoked'),
        ...problems(...BODY_ERRORS, 'unauthorized', 'forbidden', ...ALWAYS, ...OUTAGES),
      },
    },
  },
  '/v1/auth/password': {
    post: {
      operationId: 'changePassword',
      tags: ['Identity'],
      summary: 'Change the own password',
      description:
        'With a token that a login handed out, no other. Sessions in the admin panel end; with `everywhere` all login tokens too, also the one presented.',
      requestBody: { required: true, ...json('PasswordRequest', examples.passwordRequest) },
      responses: {
        204: answer('Changed'),
        ...problems(
          ...BODY_ERRORS,
          ...(['unauthorized', 'invalid-credentials', 'forbidden', 'too-many-requests'] as const),
          ...ALWAYS,
          ...OUTAGES,
        ),
      },
    },
  },
  '/v1/tickets/{ticketId}/tokens': {
    parameters: [ticketParameter],
    get: {
      operationId: 'listUploadTokens',
      tags: ['Tickets'],
      summary: 'The upload tokens of a ticket that work, newest first',
      parameters: [
        parameter('query', 'limit', 'tokens on a page', { type: 'integer', minimum: 1, maximum: 100, default: 20 }),
        parameter('query', 'cursor', '`nextCursor` of the page before', {
          type: 'string',
          examples: [examples.UPLOAD_TOKEN_ID],
        }),
      ],
      responses: {
        200: answer('A page', json('UploadTokenPage', examples.uploadTokenPage)),
        ...problems('unauthorized', 'forbidden', 'ticket-not-found', 'invalid-request', ...ALWAYS, ...OUTAGES),
      },
    },
  },
  '/v1/tickets/{ticketId}/tokens/{tokenId}': {
    parameters: [ticketParameter, tokenParameter],
    delete: {
      operationId: 'revokeUploadToken',
      tags: ['Tickets'],
      summary: 'Revoke an upload token',
      responses: {
        204: answer('Revoked; requests that still use it end'),
        ...problems('unauthorized', 'forbidden', 'ticket-not-found', 'token-not-found', ...ALWAYS, ...OUTAGES),
      },
    },
  },
};

import type { State } from '../http/app.ts';
import { createRouter, type Routes } from '../http/router.ts';
import { identityPaths } from './openapi/identity.ts';
import { componentSchemas, type Json } from './openapi/parts.ts';
import { progressPaths } from './openapi/progress.ts';
import { runningPaths } from './openapi/running.ts';
import { ticketPaths } from './openapi/tickets.ts';
import { uploadPaths } from './openapi/uploads.ts';

const DESCRIPTION = `A streaming photo-upload gateway: open a ticket for N images, upload them resumably with any tus client, watch them arrive in your storage.

1. Your server opens a ticket with a user token: \`POST /v1/tickets\`. The answer has an \`uploadToken\`, good for this ticket alone.
2. The browser or phone uploads to the ticket’s \`uploadUrl\` with that token and any tus client.
3. Whoever has one of the tokens watches \`eventsUrl\` until \`end\`; each stored image has its \`url\`.

Errors are \`application/problem+json\` with a stable \`code\`: [all of them](/problems).`;

/** The OpenAPI 3.1 document of the HTTP API, from the schemas that check the requests. */
export function openApiDocument(version: string): Json {
  return {
    openapi: '3.1.0',
    info: {
      title: 'hopla',
      version,
      description: DESCRIPTION,
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
    security: [{ bearer: [] }],
    tags: ['Identity', 'Tickets', 'Uploads', 'Progress', 'Running'].map((name) => ({ name })),
    paths: { ...identityPaths, ...ticketPaths, ...uploadPaths, ...progressPaths, ...runningPaths },
    components: {
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          description: 'A user token (everything of its user), or an upload token (one ticket)',
        },
      },
      schemas: componentSchemas(),
    },
  };
}

/** `GET /openapi.json`. */
export function openApiRoutes(version: string): Routes<State> {
  // When first asked for: most processes never serve it.
  let text: string | undefined;
  const router = createRouter<State>();
  router.get('/openapi.json', (ctx) => {
    ctx.type = 'application/json';
    ctx.set('Cache-Control', 'no-cache');
    text ??= JSON.stringify(openApiDocument(version));
    ctx.body = text;
  });
  return router;
}

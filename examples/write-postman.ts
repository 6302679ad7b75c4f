// npm run postman: writes the Postman collection from the OpenAPI document.
import { writeFile } from 'node:fs/promises';
import packageJson from '../package.json' with { type: 'json' };
import { openApiDocument } from '../src/api-docs/openapi.ts';
import { postmanCollection } from '../src/api-docs/postman.ts';

const collection = postmanCollection(openApiDocument(packageJson.version));
await writeFile(new URL('hopla.postman_collection.json', import.meta.url), `${JSON.stringify(collection, null, 2)}\n`);

import { readFile } from 'node:fs/promises';
import { expect } from 'chai';
import newman from 'newman';
import packageJson from '../../package.json' with { type: 'json' };
import { openApiDocument } from '../../src/api-docs/openapi.ts';
import { postmanCollection } from '../../src/api-docs/postman.ts';
import { createApi, type Json, untilCompleted } from '../support/client.ts';
import { useGateway } from '../support/gateway.ts';

describe('the Postman collection', () => {
  const { gateway } = useGateway();
  let collection: Json;
  before(async () => {
    collection = postmanCollection(openApiDocument(packageJson.version));
  });

  it('is the one that npm run postman writes', async () => {
    const written = await readFile(new URL('../../examples/hopla.postman_collection.json', import.meta.url), 'utf8');
    expect(JSON.parse(written), 'out of date: npm run postman').to.deep.equal(collection);
  });

  it('has every call of the document', () => {
    const { paths } = openApiDocument(packageJson.version) as Json;
    const operations = Object.values<Json>(paths).flatMap((path) => Object.values<Json>(path));
    const summaries = operations.flatMap(({ summary }) => summary ?? []);
    const folders = collection.item.slice(1).flatMap((folder: Json) => folder.item);
    expect(folders.map(({ name }: Json) => name).sort()).to.deep.equal(summaries.sort());
  });

  it('can be walked through top to bottom, up to a delivered photo', async () => {
    const user = await gateway.createUser('postman', 'correct horse battery');
    const values = { url: gateway.url, username: 'postman', password: 'correct horse battery' };
    const { run } = await runFolder(collection, 'Walk through', values);
    expect(run.failures.map(({ source, error }: Json) => `${source?.name}: ${error.message}`)).to.deep.equal([]);
    expect(run.executions).to.have.lengthOf(7);
    expect(run.stats.assertions).to.deep.include({ total: 10, failed: 0 });
    const api = createApi(gateway.url, user.token);
    const { body } = await api.call('GET', '/v1/tickets');
    expect((await untilCompleted(api, body.items[0].id)).images[0]).to.include({ width: 1, height: 1, format: 'gif' });
  });
});

function runFolder(collection: Json, folder: string, values: Record<string, string>): Promise<Json> {
  const envVar = Object.entries(values).map(([key, value]) => ({ key, value }));
  return new Promise((resolve, reject) => {
    newman.run({ collection, folder, envVar, reporters: [] }, (error: Error | null, summary: Json) =>
      error ? reject(error) : resolve(summary),
    );
  });
}

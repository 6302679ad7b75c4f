type Json = Record<string, unknown>;

/** What is read of an OpenAPI document here. */
type Parameter = {
  in: string;
  name: string;
  description: string;
  required: boolean;
  schema: { const?: string; examples?: unknown[] };
};
type Operation = {
  operationId: string;
  tags: string[];
  summary: string;
  description?: string;
  security?: unknown[];
  parameters?: Parameter[];
  requestBody?: { content: Record<string, { example?: unknown }> };
  responses: Record<string, unknown>;
};

/** What a call is given so that the calls work one after the other; the rest comes from the document. */
type Step = { headers?: Record<string, string>; body?: string; query?: boolean; tests?: string[] };

/**
 * The smallest photo, of 1 × 1: GIF89a with no colour table. All of its bytes are below 0x80, so that it stands in JSON
 * and goes over the wire as it is.
 */
const PHOTO = 'GIF89a\x01\x00\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;';
const base64 = (text: string) => Buffer.from(text).toString('base64');

/** Top to bottom; a call that comes later uses what one before it kept. */
const walk: Record<string, Step> = {
  login: {
    body: '{\n  "username": "{{username}}",\n  "password": "{{password}}"\n}',
    tests: ["pm.collectionVariables.set('token', pm.response.json().token);"],
  },
  openTicket: {
    body: '{\n  "images": 1,\n  "description": "from Postman"\n}',
    tests: ["pm.collectionVariables.set('ticketId', pm.response.json().id);"],
  },
  createUpload: {
    headers: {
      'Upload-Length': `${PHOTO.length}`,
      'Upload-Metadata': `filename ${base64('dot.gif')},slot ${base64('dot')}`,
    },
    body: PHOTO,
    tests: [
      "pm.collectionVariables.set('imageId', pm.response.headers.get('Location').split('/').pop());",
      `pm.test('the whole photo is there', () => pm.expect(pm.response.headers.get('Upload-Offset')).to.equal('${PHOTO.length}'));`,
    ],
  },
  showOffset: {},
  showTicket: {
    tests: [
      "pm.test('the photo is in its ticket', () => pm.expect(pm.response.json().images[0].slot).to.equal('dot'));",
    ],
  },
  listTickets: {
    tests: [
      "pm.test('the ticket is the newest', () => pm.expect(pm.response.json().items[0].id).to.equal(pm.collectionVariables.get('ticketId')));",
    ],
  },
  logout: {},
};

/**
 * A Postman collection (format 2.1) of an OpenAPI document of ours: a folder that can be run top to bottom, and all
 * calls by their tags. By hand: openapi-to-postmanv2 brings 18 packages, and would know neither order nor values.
 */
export function postmanCollection(document: Json): Json {
  const info = document.info as { title: string; description: string };
  const calls = listCalls(document.paths as Record<string, Record<string, unknown>>);
  const tags = [...new Set(calls.flatMap(({ operation }) => operation.tags))];
  const byId = new Map(calls.map((call) => [call.operation.operationId, call]));
  const steps = Object.entries(walk).map(([id, step]) => {
    const call = byId.get(id);
    if (!call) throw new Error(`The document has no operation ${id}`);
    return item(call, step);
  });
  return {
    info: {
      name: info.title,
      description: info.description,
      schema: 'https://schema.getpostman.com/json/collection/v2.1.0/collection.json',
    },
    auth: { type: 'bearer', bearer: [{ key: 'token', value: '{{token}}', type: 'string' }] },
    variable: Object.entries({
      url: 'http://127.0.0.1:8080',
      username: 'demo',
      password: 'the one in .hopla/sandbox.json',
      token: '',
      ticketId: '',
      imageId: '',
    }).map(([key, value]) => ({ key, value })),
    item: [
      { name: 'Walk through', item: steps },
      ...tags.map((tag) => ({
        name: tag,
        item: calls.filter(({ operation }) => operation.tags.includes(tag)).map((call) => item(call, null)),
      })),
    ],
  };
}

type Call = { path: string; method: string; operation: Operation; parameters: Parameter[] };

function listCalls(paths: Record<string, Record<string, unknown>>): Call[] {
  return Object.entries(paths).flatMap(([path, { parameters: shared = [], ...operations }]) =>
    Object.entries(operations as Record<string, Operation>).map(([method, operation]) => ({
      path,
      method: method.toUpperCase(),
      operation,
      parameters: [...(shared as Parameter[]), ...(operation.parameters ?? [])],
    })),
  );
}

function item({ path, method, operation, parameters }: Call, step: Step | null): Json {
  const segments = path
    .slice(1)
    .replace(/\{(\w+)\}/g, '{{$1}}')
    .split('/');
  const query = parameters
    .filter((parameter) => parameter.in === 'query')
    .map(({ name, description, schema }) => ({
      key: name,
      value: schema.examples?.[0] ?? '',
      description,
      disabled: true,
    }));
  const header = parameters
    .filter((parameter) => parameter.in === 'header')
    .map(({ name, description, required, schema }) => {
      const given = step?.headers?.[name];
      return { key: name, value: given ?? schema.const ?? '', description, disabled: given === undefined && !required };
    });
  const [type, content] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
  const raw = step?.body ?? (content?.example ? JSON.stringify(content.example, null, 2) : '');
  const success = Object.keys(operation.responses).filter((status) => status < '300');
  const tests = [
    `pm.test('answers ${success.join(' or ')}', () => pm.expect(pm.response.code).to.be.oneOf([${success}]));`,
    ...(step?.tests ?? []),
  ];
  return {
    name: operation.summary,
    ...(step ? { event: [{ listen: 'test', script: { type: 'text/javascript', exec: tests } }] } : {}),
    request: {
      method,
      description: operation.description ?? operation.summary,
      ...(operation.security?.length === 0 ? { auth: { type: 'noauth' } } : {}),
      header: [...(type ? [{ key: 'Content-Type', value: type }] : []), ...header],
      ...(type ? { body: { mode: 'raw', raw } } : {}),
      url: {
        raw: `{{url}}/${segments.join('/')}`,
        host: ['{{url}}'],
        path: segments,
        ...(query.length ? { query } : {}),
      },
    },
  };
}

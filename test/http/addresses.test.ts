import { expect } from 'chai';
import { createApi, type Json } from '../support/client.ts';
import { useGateway } from '../support/gateway.ts';
import { parseAnswer, sendBytes, type WireAnswer } from './raw.ts';

const forwarded = ['X-Forwarded-Host: photos.example.com', 'X-Forwarded-Proto: https', 'X-Forwarded-For: 203.0.113.9'];

describe('addresses in answers', () => {
  const { gateway } = useGateway();
  let token: string;
  before(async () => {
    token = (await gateway.createUser()).token;
  });

  const ask = async (request: string, lines: string[], body = ''): Promise<WireAnswer> => {
    const head = [
      `${request} HTTP/1.1`,
      'Host: inside.example:1234',
      `Authorization: Bearer ${token}`,
      'Connection: close',
      'Tus-Resumable: 1.0.0',
      `Content-Length: ${body.length}`,
      ...lines,
    ];
    return parseAnswer(await sendBytes(gateway.url, `${head.join('\r\n')}\r\n\r\n${body}`));
  };
  /** The base of every address that an answer has. */
  const bases = async (lines: string[]) => {
    const opened = await ask('POST /v1/tickets', [...lines, 'Content-Type: application/json'], '{"images":2}');
    const ticket: Json = JSON.parse(opened.body);
    const created = await ask(`POST /v1/tickets/${ticket.id}/uploads`, [...lines, 'Upload-Length: 100']);
    expect([opened.status, created.status]).to.deep.equal([201, 201]);
    await createApi(gateway.url, token).openTicket(1);
    const page = await ask('GET /v1/tickets?limit=1', lines);
    const detail: Json = JSON.parse((await ask(`GET /v1/tickets/${ticket.id}`, lines)).body);
    const all = [
      ticket.uploadUrl,
      ticket.eventsUrl,
      opened.headers.location,
      created.headers.location,
      page.headers.link?.slice(1),
      detail.uploadUrl,
      JSON.parse(page.body).items[0].eventsUrl,
    ];
    return [...new Set(all.map((url) => /^(.*?)\/v1\/tickets/.exec(url ?? '')?.[1]))];
  };

  it('begin with the host that was asked, and believe no X-Forwarded header by default', async () => {
    expect(await bases([])).to.deep.equal(['http://inside.example:1234']);
    expect(await bases(forwarded)).to.deep.equal(['http://inside.example:1234']);
  });

  it('begin with what the proxy says, once that is trusted', async () => {
    await gateway.restart({ TRUST_PROXY: 'true' });
    expect(await bases(forwarded)).to.deep.equal(['https://photos.example.com']);
    expect(await bases([])).to.deep.equal(['http://inside.example:1234']);
    const { status } = await ask('GET /v1/tickets', ['X-Forwarded-Host: a"><script>']);
    expect(status).to.equal(400);
  });

  it('begin with http or https and nothing else', async () => {
    for (const scheme of ['javascript', 'ftp', 'ws', 'https:', 'https://evil.example/?', 'http s', 'a, https'])
      expect((await ask('GET /v1/tickets', [`X-Forwarded-Proto: ${scheme}`])).status, scheme).to.equal(400);
    for (const scheme of ['HTTPS', 'https, http', 'https,javascript'])
      expect(await bases([`X-Forwarded-Proto: ${scheme}`]), scheme).to.deep.equal(['https://inside.example:1234']);
    expect(await bases(['X-Forwarded-Proto:']), 'an empty one').to.deep.equal(['http://inside.example:1234']);
  });

  it('begin with PUBLIC_URL whatever anybody says, also below a path', async () => {
    await gateway.restart({ TRUST_PROXY: 'true', PUBLIC_URL: 'https://public.example.com/photos/' });
    expect(await bases(forwarded)).to.deep.equal(['https://public.example.com/photos']);
    expect(await bases([])).to.deep.equal(['https://public.example.com/photos']);
  });
});

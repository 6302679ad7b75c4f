import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { expect } from 'chai';
import { type Json, untilCompleted } from '../support/client.ts';
import { useGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';
import { open, parseAnswer } from './raw.ts';

/** A client that sends the headers of a request and waits to be told to go on, as RFC 9110 section 10.1.1 has it. */
class PatientClient {
  readonly socket: Socket;
  #text = '';

  constructor(url: string, lines: string[]) {
    this.socket = open(url);
    this.socket.on('data', (text) => {
      this.#text += text;
    });
    this.socket.write(`${[...lines, 'Host: x', 'Expect: 100-continue'].join('\r\n')}\r\n\r\n`);
  }

  /** What came so far, once there is anything. */
  async heard(): Promise<string> {
    while (this.#text === '') await once(this.socket, 'data');
    return this.#text;
  }

  /** The rest, until the server ends the connection. */
  async toEnd(): Promise<string> {
    if (!this.socket.readableEnded) await once(this.socket, 'end');
    return this.#text;
  }
}

const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n';

describe('a client that expects to be told to continue', () => {
  const photo = jpeg({ bytes: 20_000 });
  const { gateway, api } = useGateway({ MAX_IMAGE_BYTES: '100000' });

  const request = (method: string, url: string, token: string, more: string[]) => [
    `${method} ${new URL(url).pathname} HTTP/1.1`,
    `Authorization: Bearer ${token}`,
    'Tus-Resumable: 1.0.0',
    ...more,
  ];
  const creation = (ticket: Json, { size = photo.length, more = [] as string[], token = ticket.uploadToken } = {}) =>
    request('POST', ticket.uploadUrl, token, [
      'Content-Type: application/offset+octet-stream',
      `Content-Length: ${size}`,
      `Upload-Length: ${size}`,
      ...more,
    ]);

  it('is told so once its upload is known to be taken', async () => {
    const ticket = await api.openTicket(1);
    const client = new PatientClient(gateway.url, creation(ticket));
    expect(await client.heard()).to.equal(CONTINUE);
    client.socket.write(photo);
    // The connection goes on after that.
    client.socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    const [, first = '', second = ''] = (await client.toEnd()).split(/(?=HTTP\/1\.1 2)/);
    expect(parseAnswer(first).status).to.equal(201);
    expect(parseAnswer(second).status).to.equal(200);
    await untilCompleted(api, ticket.id);
  });

  it('is told so for the other bodies, too', async () => {
    const ticket = await api.openTicket(1);
    const body = JSON.stringify({ images: 1 });
    const json = new PatientClient(gateway.url, [
      'POST /v1/tickets HTTP/1.1',
      `Authorization: Bearer ${api.token}`,
      'Content-Type: application/json',
      `Content-Length: ${body.length}`,
      'Connection: close',
    ]);
    expect(await json.heard()).to.equal(CONTINUE);
    json.socket.write(body);
    expect(parseAnswer((await json.toEnd()).slice(CONTINUE.length)).status).to.equal(201);

    const created = await api.call('POST', new URL(ticket.uploadUrl).pathname, {
      headers: { 'Tus-Resumable': '1.0.0', 'Upload-Length': `${photo.length}` },
    });
    const patch = new PatientClient(
      gateway.url,
      request('PATCH', `${created.headers.get('Location')}`, ticket.uploadToken, [
        'Content-Type: application/offset+octet-stream',
        'Upload-Offset: 0',
        `Content-Length: ${photo.length}`,
        'Connection: close',
      ]),
    );
    expect(await patch.heard()).to.equal(CONTINUE);
    patch.socket.write(photo);
    expect(parseAnswer((await patch.toEnd()).slice(CONTINUE.length)).status).to.equal(204);
  });

  it('is refused without a byte of its body, and the connection ends', async () => {
    const [ticket, other] = [await api.openTicket(1), await api.openTicket(1)];
    const [full, expired] = [await api.openTicket(1), await api.openTicket(1)];
    const filling = new PatientClient(gateway.url, creation(full));
    await filling.heard();
    filling.socket.end(photo);
    await filling.toEnd();
    await gateway.db('tickets').where({ id: expired.id }).update({ expires_at: gateway.db.fn.now() });
    for (const [lines, status, code] of [
      [creation(ticket, { token: 'hop_nonsense' }), 401, 'unauthorized'],
      [creation({ ...ticket, uploadUrl: other.uploadUrl }), 404, 'ticket-not-found'],
      [creation(ticket, { size: 100_001 }), 413, 'image-too-large'],
      [creation(ticket, { more: ['Content-Encoding: gzip'] }), 415, 'unsupported-media-type'],
      [creation(full), 422, 'ticket-full'],
      [creation(expired), 410, 'ticket-expired'],
    ] as const) {
      const client = new PatientClient(gateway.url, [...lines]);
      const answer = parseAnswer(await client.toEnd());
      expect(`${answer.status} ${JSON.parse(answer.body).code}`).to.equal(`${status} ${code}`);
      expect(answer.headers.connection).to.equal('close');
    }
    expect((await api.ticket(ticket.id)).images).to.deep.equal([]);
  });

  it('may be curl, which then keeps the photo', async function () {
    const curl = spawn('curl', [
      ...['-sS', '-X', 'POST', (await api.openTicket(1)).uploadUrl, '-H', 'Authorization: Bearer hop_nonsense'],
      ...['-H', 'Tus-Resumable: 1.0.0', '-H', 'Upload-Length: 20000', '-H', 'Expect: 100-continue'],
      ...['-H', 'Content-Type: application/offset+octet-stream', '--data-binary', '@-'],
      ...['--expect100-timeout', '60', '-w', '%{stderr}%{http_code} %{size_upload}'],
    ]);
    const failed = await Promise.race([once(curl, 'error'), once(curl, 'spawn').then(() => null)]);
    if (failed) return this.skip();
    curl.stdin.end(photo);
    const told = (await curl.stderr.toArray()).join('');
    expect(told).to.equal('401 0');
  });
});

import { connect, type Socket } from 'node:net';

/** One HTTP answer as it stood on the wire; `headers` are by their names in lower case. */
export type WireAnswer = { status: number; headers: Record<string, string>; body: string };

/** Sends exactly these bytes and resolves to everything that came back until the connection ended. */
export async function sendBytes(url: string, bytes: string | Buffer, { end = false } = {}): Promise<string> {
  const socket = open(url);
  socket.write(bytes);
  if (end) socket.end();
  try {
    return (await socket.toArray()).join('');
  } finally {
    socket.destroy();
  }
}

/** Sends one request, headers and all as given, with `Connection: close`, and resolves to its answer. */
export async function sendRequest(url: string, lines: string[], body = ''): Promise<WireAnswer> {
  return parseAnswer(await sendBytes(url, `${[...lines, 'Connection: close'].join('\r\n')}\r\n\r\n${body}`));
}

export function parseAnswer(text: string): WireAnswer {
  const at = text.indexOf('\r\n\r\n');
  const [first = '', ...lines] = text.slice(0, at).split('\r\n');
  const headers = lines.map((line) => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  });
  return { status: Number(first.split(' ')[1]), headers: Object.fromEntries(headers), body: text.slice(at + 4) };
}

/** Opens a connection to a server by its URL. An error ends the connection, and whoever reads it sees the end. */
export function open(url: string): Socket {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.setEncoding('utf8');
  return socket;
}

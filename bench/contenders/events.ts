/** What 10,000 open streams cost at least: bare `node:http`, one line to each when it is POSTed, no users, no tickets. */
import { createServer, type ServerResponse } from 'node:http';
import { announce } from './contender.ts';

const listeners = new Set<ServerResponse>();

announce(
  createServer({ requestTimeout: 0 }, (request, response) => {
    if (request.method === 'POST') {
      const body: Buffer[] = [];
      request.on('data', (data) => body.push(data));
      request.on('end', () => {
        const text = Buffer.concat(body);
        for (const listener of listeners) listener.write(text);
        response.end();
      });
      return;
    }
    response.writeHead(200, { 'Content-Type': 'text/event-stream' });
    response.write('event: hello\n\n');
    listeners.add(response);
    response.on('close', () => listeners.delete(response));
  }),
);

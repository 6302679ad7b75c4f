import type { IncomingMessage, ServerResponse } from 'node:http';

/**
 * Answers `Expect: 100-continue` when the body is first asked for, and not before: until then a request may be refused, and its
 * client keeps the bytes. (Node by itself answers as soon as it has the headers.)
 */
export function continueOnRead(request: IncomingMessage, response: ServerResponse): void {
  const { read } = request;
  const { shouldKeepAlive } = response;
  // RFC 9110 section 10.1.1: after a refusal nobody knows whether a body follows or the next request, so the connection ends.
  response.shouldKeepAlive = false;
  request.read = (size) => {
    request.read = read;
    // After its answer Node reads what is left of a request.
    if (!response.headersSent) {
      response.shouldKeepAlive = shouldKeepAlive;
      response.writeContinue();
    }
    return request.read(size);
  };
}

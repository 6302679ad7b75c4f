import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Where a contender may put its files. */
export const directory = process.argv[2] ?? '.';

/** Listens on a free port and tells the bench where. */
export function announce(server: Server): void {
  server.listen(0, '127.0.0.1', () => {
    const { port } = server.address() as AddressInfo;
    process.stdout.write(`listening http://127.0.0.1:${port}\n`);
  });
}

import { isIP } from 'node:net';

/** Whether an address, or the name `localhost`, leads to this machine alone. Any other name counts as leading further. */
export function isLoopback(host: string): boolean {
  const address = host.replace(/^\[(.*)\]$/, '$1').replace(/^::ffff:/i, '');
  switch (isIP(address)) {
    case 4:
      return address.startsWith('127.');
    case 6:
      return address === '::1';
    default:
      return address.toLowerCase() === 'localhost';
  }
}

import ipaddr from 'ipaddr.js';

/**
 * The address by which failures of a client are counted. An IPv6 address counts as its network of 64 bits, since a
 * household or a machine has as many addresses in there as it wants (RFC 6177). An IPv4 address within IPv6
 * (`::ffff:192.0.2.1`) counts as the IPv4 address. Some proxies add the client's port to X-Forwarded-For; the port differs
 * for each connection and is left out.
 */
export function clientNetwork(address: string): string {
  const bare = /^\[([^\]]+)\](?::\d+)?$/.exec(address)?.[1] ?? address.replace(/^([\d.]+):\d+$/, '$1');
  if (!ipaddr.isValid(bare)) return bare;
  const known = ipaddr.process(bare);
  if (!(known instanceof ipaddr.IPv6)) return known.toString();
  const network = known.parts.slice(0, 4).map((part) => part.toString(16));
  return `${network.join(':')}::/64`;
}

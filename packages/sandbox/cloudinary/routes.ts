import { isIP } from 'node:net';
import { ping, resource, usage } from './admin.ts';
import { refuse } from './answer.ts';
import type { Call } from './call.ts';
import { control } from './control.ts';
import { deliver } from './delivery.ts';
import { destroy } from './destroy.ts';
import { listStored } from './listing.ts';
import { send } from './send.ts';
import { upload } from './upload.ts';

/** Finds the handler by path and method. No router: the faults need the bare request, and eight addresses fit here. */
export async function route(call: Call): Promise<void> {
  const { req, url, sandbox } = call;
  if (!isOwnName(req.headers.host)) return send(call, refuse(421, 'This server goes by its address, or by localhost'));
  // A browser names the page that sends a request; the SDK is no browser, and a page has nothing to change here.
  if (req.headers.origin !== undefined && req.method !== 'GET' && req.method !== 'HEAD')
    return send(call, refuse(403, 'Not from a browser'));
  const path = segmentsOf(url.pathname);
  if (path === null) return send(call, refuse(400, 'Malformed address'));
  const [first, second, third, fourth, ...rest] = path;
  const read = req.method === 'GET' || req.method === 'HEAD';
  const { cloudName } = sandbox.account;

  if (first === '' && read) return listStored(call);
  if (first === '_sandbox') return control(call);
  if (first === 'v1_1') {
    if (second !== cloudName) return send(call, refuse(401, `Invalid cloud_name ${second ?? ''}`));
    if (req.method === 'POST' && rest.length === 0) {
      if (fourth === 'upload' && isUploadType(third)) return upload(call, third);
      if (fourth === 'destroy' && isResourceType(third)) return destroy(call, third);
    }
    if (read && third === 'ping' && fourth === undefined) return ping(call);
    if (read && third === 'usage' && fourth === undefined) return usage(call);
    const [type, ...publicId] = rest;
    if (read && third === 'resources' && isResourceType(fourth) && type !== undefined && publicId.length > 0) {
      return resource(call, { resourceType: fourth, type, publicId: publicId.join('/') });
    }
  }
  if (read && first === cloudName && isResourceType(second) && third === 'upload' && fourth !== undefined) {
    const publicId = /^v\d+$/.test(fourth) && rest.length > 0 ? rest : [fourth, ...rest];
    return deliver(call, { resourceType: second, type: third, publicId: publicId.join('/') });
  }
  return send(call, refuse(404, `Resource not found - ${url.pathname}`));
}

/**
 * A name of the outside world may lead to 127.0.0.1 as well, if its owner says so (DNS rebinding), and a page loaded under
 * that name could then read what is here. An address is nobody else's.
 */
function isOwnName(host: string | undefined): boolean {
  const name = URL.parse(`http://${host ?? ''}`)?.hostname ?? '';
  return name === 'localhost' || isIP(name.replace(/^\[(.*)\]$/, '$1')) !== 0;
}

/** Null when a segment is not valid percent-encoding. The SDK encodes a slash inside a public id, others do not. */
function segmentsOf(pathname: string): string[] | null {
  try {
    return pathname.slice(1).split('/').map(decodeURIComponent);
  } catch {
    // URIError, the only one this throws.
    return null;
  }
}

function isResourceType(text: string | undefined): text is 'image' | 'raw' {
  return text === 'image' || text === 'raw';
}

function isUploadType(text: string | undefined): text is 'image' | 'raw' | 'auto' {
  return isResourceType(text) || text === 'auto';
}

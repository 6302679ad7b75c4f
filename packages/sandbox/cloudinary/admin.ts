import { type Answer, refuse } from './answer.ts';
import { assetFields } from './asset-fields.ts';
import type { AssetName } from './assets.ts';
import { type Call, meetFault } from './call.ts';
import { conduct } from './conduct.ts';
import { mediaLimits } from './media-limits.ts';
import { type Account, equal } from './signature.ts';

/** GET /v1_1/:cloud/ping */
export async function ping(call: Call): Promise<void> {
  meetFault(call, 'ping', null);
  await conduct(call, async () => refuseStranger(call) ?? { status: 200, json: { status: 'ok' } });
}

/** GET /v1_1/:cloud/usage: of all that it reports, the limits are what a client can act on. */
export async function usage(call: Call): Promise<void> {
  const fault = meetFault(call, 'usage', null);
  await conduct(call, async () => {
    const refusal = refuseStranger(call);
    if (refusal !== null) return refusal;
    return { status: 200, json: { plan: 'Sandbox', media_limits: mediaLimits(fault) } };
  });
}

/** GET /v1_1/:cloud/resources/:resource_type/:type/:public_id */
export async function resource(call: Call, name: AssetName): Promise<void> {
  const { sandbox } = call;
  meetFault(call, 'resource', name.publicId);
  await conduct(call, async () => {
    const refusal = refuseStranger(call);
    if (refusal !== null) return refusal;
    const asset = await sandbox.assets.find(name);
    if (asset === null) return refuse(404, `Resource not found - ${name.publicId}`);
    return { status: 200, json: { ...assetFields(asset, sandbox), derived: [] } };
  });
}

/** The Admin API takes key and secret as HTTP Basic credentials. */
export function refuseStranger({ req, sandbox }: Call): Answer | null {
  const [, encoded = ''] = /^Basic (\S+)$/i.exec(req.headers.authorization ?? '') ?? [];
  const [apiKey = '', apiSecret = ''] = Buffer.from(encoded, 'base64').toString().split(':');
  const account: Account = sandbox.account;
  if (apiKey !== account.apiKey) return refuse(401, 'unknown api_key');
  return equal(account.apiSecret, apiSecret) ? null : refuse(401, 'api_secret mismatch');
}

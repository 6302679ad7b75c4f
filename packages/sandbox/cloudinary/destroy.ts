import { refuse } from './answer.ts';
import { type Call, meetFault } from './call.ts';
import { conduct } from './conduct.ts';
import { receiveForm } from './form.ts';
import { send } from './send.ts';
import { refuseUnsigned } from './signature.ts';

/** POST /v1_1/:cloud/:resource_type/destroy: an asset that is not there is an answer, not an error. */
export async function destroy(call: Call, resourceType: 'image' | 'raw'): Promise<void> {
  const { sandbox, req } = call;
  const form = await receiveForm(req, {
    path: sandbox.assets.temporaryPath(),
    onFile: () => 'leave',
    onBytes: () => {},
  });
  if (form.outcome === 'gone') return;
  if (form.outcome !== 'received') {
    req.resume();
    return send(call, refuse(400, form.outcome === 'malformed' ? form.message : 'Unexpected file'));
  }
  const { fields } = form;
  const publicId = fields.get('public_id') ?? '';
  meetFault(call, 'destroy', publicId);
  await conduct(call, async () => {
    const refusal = refuseUnsigned(fields, sandbox.account, sandbox.now());
    if (refusal !== null) return refusal;
    if (publicId === '') return refuse(400, 'Missing required parameter - public_id');
    const removed = await sandbox.assets.remove({ resourceType, type: fields.get('type') || 'upload', publicId });
    return { status: 200, json: { result: removed ? 'ok' : 'not found' } };
  });
}

import type { Database } from '../database/connection.ts';
import { owedStatuses } from '../database/states.ts';
import type { Receipt } from '../storage/port.ts';
import { type Change, moveImage } from './transition.ts';

/**
 * Records the store's receipt: the image is stored, the ticket counted (and completed when it was the last), and the
 * job finished, in one transaction. Only after it may the staged file go. Null when another worker was first.
 */
export async function recordStored(
  db: Database,
  imageId: string,
  receipt: Receipt,
  finishJob: (trx: Database) => Promise<void>,
): Promise<Change | null> {
  return db.transaction(async (trx) => {
    const change = await moveImage(trx, imageId, owedStatuses, 'stored', {
      storage_provider: receipt.provider,
      storage_key: receipt.key,
      storage_asset_id: receipt.assetId,
      storage_version: receipt.version,
      url: receipt.url,
      error_code: null,
      error_message: null,
      stored_at: new Date(),
      // The store decoded the image; where our look at its header found nothing, its word counts.
      ...(receipt.width && receipt.height ? { width: receipt.width, height: receipt.height } : {}),
      ...(receipt.format ? { format: receipt.format } : {}),
    });
    await finishJob(trx);
    return change;
  });
}

import type { Database } from '../database/connection.ts';
import { owedStatuses } from '../model/states.ts';
import type { Receipt } from '../storage/port.ts';
import type { Change } from './count-and-announce.ts';
import { type Beside, type ImageChanges, moveImages } from './move-images.ts';

/**
 * Records the store's receipts: the images are stored, their tickets counted (and completed by the last one), and their jobs
 * ended, in one statement; only after it may the staged files go. An image that another worker recorded first is not among
 * those it resolves to.
 */
export function recordStored(
  db: Database,
  stored: { imageId: string; receipt: Receipt }[],
  endJobs: Beside,
): Promise<Change[]> {
  const moves = stored.map(({ imageId, receipt }) => ({ imageId, changes: columnsOf(receipt) }));
  return moveImages(db, moves, owedStatuses, 'stored', { beside: endJobs });
}

function columnsOf(receipt: Receipt): ImageChanges {
  return {
    storage_provider: receipt.provider,
    storage_key: receipt.key,
    storage_asset_id: receipt.assetId,
    storage_version: receipt.version,
    // What the store made of the image, turned or of another format perhaps: its word on its asset, and none on the image.
    storage_width: receipt.width,
    storage_height: receipt.height,
    storage_format: receipt.format,
    url: receipt.url,
    md5: receipt.md5,
    error_code: null,
    error_message: null,
    stored_at: new Date(),
  };
}

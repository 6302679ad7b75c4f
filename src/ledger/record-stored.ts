import type { Database } from '../database/connection.ts';
import type { Statement } from '../database/sql.ts';
import { owedStatuses } from '../model/states.ts';
import type { Receipt } from '../storage/port.ts';
import type { Change } from './count-and-announce.ts';
import { type ImageChanges, moveImages } from './move-images.ts';

/**
 * Records the store's receipts in one statement: the images become `stored`, their tickets count them (the last image
 * completes its ticket), and `endJobs` ends their jobs. Only after that commit may the staged files go. Resolves to the
 * changes, without the images that another worker recorded first.
 */
export function recordStored(
  db: Database,
  stored: { imageId: string; receipt: Receipt }[],
  endJobs: Statement,
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
    // Size and format of the store's asset. The store may have turned or converted the image.
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

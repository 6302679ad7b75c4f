import type { Database } from '../database/connection.ts';
import type { Change } from '../ledger/count-and-announce.ts';
import { createGroupCommit } from '../ledger/group-commit.ts';
import { moveImages } from '../ledger/move-images.ts';
import { recordStored } from '../ledger/record-stored.ts';
import { owedStatuses } from '../model/states.ts';
import type { Receipt } from '../storage/port.ts';
import type { Claim } from './job.ts';
import { endTransfers } from './pgboss-sql.ts';

/**
 * What every transfer writes, many of them in one statement: they count in the same tickets, and one by one each would wait
 * for as long as the one before it waits for the disk. Each is durable when it resolves.
 */
export type Records = {
  /** Notes that a transfer begins; null when its image needs none any more. */
  begin(claim: Claim): Promise<Change | null>;
  /**
   * Records the store's receipt and the end of the job. Null when the image is no longer owed. A claim that was lost
   * meanwhile is no reason to lose the receipt: whoever has it now finds the image stored. One that is `patient`, as others
   * will soon come, may wait for them a moment.
   */
  store(claim: Claim, receipt: Receipt, patient?: boolean): Promise<Change | null>;
};

type Entry = { claim: Claim; receipt: Receipt };

export function createRecords(db: Database): Records {
  const begin = createGroupCommit(async (claims: Claim[]) => {
    const begun = claims.map(({ data }) => data);
    return inOrder(claims, await moveImages(db, begun, owedStatuses, 'transferring'));
  });
  const store = createGroupCommit(async (entries: Entry[]) => {
    const claims = entries.map(({ claim }) => claim);
    const stored = entries.map(({ claim, receipt }) => ({ ...claim.data, receipt }));
    return inOrder(claims, await recordStored(db, stored, endTransfers(claims)));
  });
  return { begin, store: (claim, receipt, patient) => store({ claim, receipt }, patient) };
}

function inOrder(claims: Claim[], changes: Change[]): (Change | null)[] {
  const byImage = new Map(changes.map((change) => [change.image.id, change]));
  return claims.map(({ data }) => byImage.get(data.imageId) ?? null);
}

import type { PgBoss } from 'pg-boss';
import type { Database } from '../database/connection.ts';
import { createGroupCommit } from '../database/group-commit.ts';
import { owedStatuses } from '../database/states.ts';
import type { Receipt } from '../storage/port.ts';
import type { Change } from '../tickets/changes.ts';
import { recordStored } from '../tickets/complete.ts';
import { lockTickets } from '../tickets/lock.ts';
import { moveImages } from '../tickets/transition.ts';
import { type Claim, inside } from './queue.ts';

/**
 * What every transfer writes, many of them in one transaction: they count in the same tickets, and one by one each would
 * wait for as long as the one before it waits for the disk. Each is durable when it resolves.
 */
export type Records = {
  /** Notes that a transfer begins; null when its image needs none any more. */
  begin(claim: Claim): Promise<Change | null>;
  /** Records the store's receipt and the end of the job. Null when the image is no longer owed. */
  store(claim: Claim, receipt: Receipt): Promise<Change | null>;
};

type Entry = { claim: Claim; receipt: Receipt | null };

export function createRecords(db: Database, boss: PgBoss): Records {
  const commit = createGroupCommit(async (entries: Entry[]): Promise<(Change | null)[]> => {
    const begun = entries.filter(({ receipt }) => receipt === null).map(({ claim }) => claim.data);
    const stored = entries.flatMap(({ claim, receipt }) => (receipt ? [{ ...claim.data, claim, receipt }] : []));
    const record = async (trx: Database): Promise<Change[]> => {
      const imageIds = [...begun, ...stored].map(({ imageId }) => imageId);
      if (begun.length > 0) await lockTickets(trx, imageIds);
      const changes = begun.length > 0 ? await moveImages(trx, begun, owedStatuses, 'transferring') : [];
      changes.push(...(await recordStored(trx, stored)));
      await finishJobs(
        boss,
        trx,
        stored.map(({ claim }) => claim),
      );
      return changes;
    };
    const changes =
      stored.length > 0 ? await db.transaction(record) : await moveImages(db, begun, owedStatuses, 'transferring');
    const byImage = new Map(changes.map((change) => [change.image.id, change]));
    return entries.map(({ claim }) => byImage.get(claim.data.imageId) ?? null);
  });
  return {
    begin: (claim) => commit({ claim, receipt: null }),
    store: (claim, receipt) => commit({ claim, receipt }, true),
  };
}

/** A claim that was lost meanwhile is no reason to lose the receipt: whoever has it now finds the image stored. */
async function finishJobs(boss: PgBoss, trx: Database, claims: Claim[]): Promise<void> {
  const [first] = claims;
  if (first) await boss.complete(first.name, claims, null, { db: inside(trx) });
}

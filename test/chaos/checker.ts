import { checkPhotos } from './check-photos.ts';
import { checkProcesses } from './check-processes.ts';
import { checkProtocol } from './check-protocol.ts';
import { checkRecords } from './check-records.ts';
import { checkRecovery } from './check-recovery.ts';
import { checkStreams } from './check-streams.ts';
import type { Evidence } from './evidence.ts';
import type { Finding } from './finding.ts';

/** Every invariant, with its violations. Looks at the evidence alone, so it can be given one that lies. */
export function check(evidence: Evidence): Finding[] {
  return [checkPhotos, checkProtocol, checkRecords, checkStreams, checkProcesses, checkRecovery].flatMap((look) =>
    look(evidence),
  );
}

import type { Entry } from './journal.ts';
import type { View } from './listener.ts';
import type { Plan } from './plan.ts';
import type { StoredAsset } from './store.ts';

export type TicketRow = {
  id: string;
  status: string;
  expected: number;
  claimed: number;
  received: number;
  stored: number;
  failed: number;
};
export type ImageRow = { id: string; ticketId: string; status: string; error: string | null };
export type JobRow = { id: string; state: string };

/** What a process holds, from /proc. */
export type Vitals = {
  index: number;
  descriptors: number;
  /** Connections of clients to its port. */
  clientSockets: number;
  /** Open files of the staging folder, removed ones included. */
  stagedFiles: number;
  rssBytes: number;
  /** Heap and buffers after a garbage collection; null where it could not be asked for. */
  heapBytes: number | null;
};

/** What the database says at the end. */
export type Records = { tickets: TicketRow[]; images: ImageRow[]; jobs: JobRow[] };

/** All that the checker looks at. Parts that a target does not have are null. */
export type Evidence = {
  plan: Plan;
  processes: 1 | 2;
  journal: readonly Entry[];
  records: Records | null;
  /** The ids of the world's tickets by the names of the plan. */
  ticketIds: Record<string, string> | null;
  views: View[] | null;
  assets: StoredAsset[];
  /** Names of what is left in the staging folder. */
  staged: string[];
  /** At the start, idle, and at the end, idle again. */
  vitals: { before: Vitals[]; after: Vitals[] };
};

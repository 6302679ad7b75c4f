import type { Destination } from './client.ts';
import type { Postgres } from './database.ts';
import type { Disk } from './disk.ts';
import type { Records } from './evidence.ts';
import type { Journal } from './journal.ts';
import type { View } from './listener.ts';
import type { TicketPlan } from './plan.ts';

/** Where a target lives. */
export type Site = {
  directory: string;
  stagingDirectory: string;
  disk: Disk | null;
  cloudinaryUrl: string;
  /** Base of every URL for clients; known once the balancer listens. */
  url(): string;
  journal: Journal;
};

/** What is being tested. Null where it has no such thing. */
export type Target = {
  postgres: Postgres | null;
  /** What node runs, with which environment (HOST and PORT are added), and what it prints once it takes requests. */
  program: string;
  environment: Record<string, string>;
  readyText: string;
  /** Called once, when its processes are ready. */
  begin(): Promise<void>;
  /** Where this ticket's clients upload to. */
  open(ticket: TicketPlan): Promise<Destination>;
  /** Called when no client is left. */
  settle(): Promise<void>;
  /** What is still to be done, in numbers; all zero when nothing is. */
  pending(): Promise<Record<string, number>>;
  records(): Promise<Records | null>;
  ticketIds(): Record<string, string> | null;
  views(): View[] | null;
  staged(): Promise<string[]>;
  /** Ends what listens on behalf of clients. */
  hushClients(): void;
  close(): Promise<void>;
};

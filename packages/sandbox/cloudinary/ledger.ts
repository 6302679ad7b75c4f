import { appendFileSync } from 'node:fs';
import type { Operation } from './faults.ts';

/** What became of one API call. An entry appears when the call is understood and is complete once `ended` is true. */
export type LedgerEntry = {
  /** ISO time of the real clock, whatever clock the sandbox pretends to have. */
  at: string;
  operation: Operation;
  method: string;
  path: string;
  publicId: string | null;
  /** The how-manieth call of this operation for this public id, from 1. */
  attempt: number;
  /** Bytes of the file received so far, and the md5 of all of them once the whole file is here. */
  bytes: number;
  md5: string | null;
  /** The status the caller was sent; null as long as, or if, there was no answer. */
  answered: number | null;
  /** An asset of that public id was there and was left as it is. */
  existing: boolean;
  overwrite: boolean;
  /** These bytes (or a truncated copy of them) became the asset. */
  stored: boolean;
  /** Name of the fault rule that struck, or the kind of its fault. */
  fault?: string;
  ended: boolean;
};

type LedgerFilter = { publicId?: string; operation?: Operation };

export type Ledger = {
  /** Copies of the newest entries, oldest first; at most `ledgerLimit` are kept. */
  entries(filter?: LedgerFilter): LedgerEntry[];
  /** Resolves with all entries as soon as they fulfil the predicate; rejects, naming `what`, after the timeout. */
  waitFor(
    predicate: (entries: readonly LedgerEntry[]) => boolean,
    timeoutMs: number,
    what?: string,
  ): Promise<LedgerEntry[]>;
};

/** One open line of the ledger. */
export type LedgerLine = {
  set(change: Partial<LedgerEntry>): void;
  /** Completes the line; later changes are ignored, so the first ending of a call is the one on record. */
  end(change?: Partial<LedgerEntry>): void;
};

/** 5,000 entries of some 400 bytes are 2 MB: enough for any test, and nothing for a demo that runs for months. */
const ledgerLimit = 5000;

/** The ledger as its writers see it. */
export type LedgerBook = Ledger & {
  open(entry: Pick<LedgerEntry, 'operation' | 'method' | 'path'> & Partial<LedgerEntry>): LedgerLine;
  /** Rejects whoever still waits. */
  close(): void;
};

/** @param file where completed entries are appended as JSON lines, or null for memory alone */
export function createLedger(file: string | null): LedgerBook {
  const kept: LedgerEntry[] = [];
  const waiters = new Set<() => void>();
  const closings = new Set<() => void>();
  const changed = () => {
    for (const waiter of [...waiters]) waiter();
  };

  return {
    entries: (filter = {}) =>
      kept
        .filter((entry) => filter.publicId === undefined || entry.publicId === filter.publicId)
        .filter((entry) => filter.operation === undefined || entry.operation === filter.operation)
        .map((entry) => ({ ...entry })),

    waitFor(predicate, timeoutMs, what = 'the ledger') {
      return new Promise((resolve, reject) => {
        const finish = (settle: () => void) => {
          clearTimeout(timer);
          waiters.delete(look);
          closings.delete(closed);
          settle();
        };
        const look = () => {
          if (predicate(kept)) finish(() => resolve(kept.map((entry) => ({ ...entry }))));
        };
        const closed = () => finish(() => reject(new Error(`The sandbox was closed while waiting for ${what}`)));
        const timer = setTimeout(
          () => finish(() => reject(new Error(`Waited ${timeoutMs} ms in vain for ${what}`))),
          timeoutMs,
        );
        waiters.add(look);
        closings.add(closed);
        look();
      });
    },

    open(start) {
      const entry: LedgerEntry = {
        at: new Date().toISOString(),
        publicId: null,
        attempt: 1,
        bytes: 0,
        md5: null,
        answered: null,
        existing: false,
        overwrite: true,
        stored: false,
        ended: false,
        ...start,
      };
      kept.push(entry);
      if (kept.length > ledgerLimit) kept.shift();
      changed();
      return {
        set(change) {
          if (entry.ended) return;
          Object.assign(entry, change);
          changed();
        },
        end(change = {}) {
          if (entry.ended) return;
          Object.assign(entry, change, { ended: true });
          if (file !== null) appendLine(file, entry);
          changed();
        },
      };
    },

    close() {
      for (const closed of [...closings]) closed();
    },
  };
}

function appendLine(file: string, entry: LedgerEntry): void {
  try {
    // Synchronous, so that a killed process leaves every answered call on record and there is no handle to close.
    appendFileSync(file, `${JSON.stringify(entry)}\n`);
  } catch {
    // ENOSPC in a chaos run, ENOENT when a test removed the directory first: the record in memory is the one that counts.
  }
}

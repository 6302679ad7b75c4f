import { createWriteStream } from 'node:fs';

/** Something that one of the parts of the world saw. `upload` is the last segment of an upload's URL: the image id. */
type Happening =
  | { kind: 'started'; photo: string }
  | { kind: 'asked'; photo: string; method: string }
  | { kind: 'response'; photo: string; method: string; upload: string | null; status: number; offset: number | null }
  /** The client was told that its last byte is safe. */
  | { kind: 'told'; photo: string; upload: string }
  | { kind: 'gave-up'; photo: string; status: number | null; message: string }
  | { kind: 'begin' | 'end'; disturbance: number; name: string }
  | { kind: 'process'; index: number; event: 'spawned' | 'ready' | 'exited'; pid: number; how?: string; name?: string }
  /** An image in the database; `holder` is the name of the process that receives it. `skipped` when announcements may have been missed in between. */
  | {
      kind: 'moved';
      image: string;
      ticket: string;
      from: string | null;
      to: string;
      skipped: boolean;
      holder?: string | null;
    }
  | { kind: 'stream'; listener: string; event: StreamHappening; version: number | null }
  | { kind: 'note'; text: string };
export type StreamHappening = 'open' | 'lost' | 'snapshot' | 'image' | 'ticket' | 'end';

/** `at` is in milliseconds since the world began. */
export type Entry = Happening & { at: number };

export type Journal = {
  readonly entries: readonly Entry[];
  readonly file: string;
  /** Milliseconds since the world began. */
  now(): number;
  write(happening: Happening): void;
  close(): Promise<void>;
};

/** Keeps what happened in memory for the checker, and in `file` (JSON lines) for whoever looks for the cause. */
export function openJournal(file: string): Journal {
  const began = performance.now();
  const entries: Entry[] = [];
  const stream = createWriteStream(file);
  const now = () => Math.round((performance.now() - began) * 10) / 10;
  return {
    entries,
    file,
    now,
    write(happening) {
      const entry = { at: now(), ...happening };
      entries.push(entry);
      stream.write(`${JSON.stringify(entry)}\n`);
    },
    close: () => new Promise((resolve) => stream.end(() => resolve())),
  };
}

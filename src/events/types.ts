import type { Image, Ticket } from '../database/models.ts';

/** One committed change of a ticket: the ticket after the change, and the changed image, if the change was of an image. */
export type Announcement = { ticket: Ticket; image: Image | null };

/** Bytes of an image that have passed one leg: `upload` from the client to hopla, `transfer` from hopla to the store. */
export type Progress = {
  ticketId: string;
  userId: string;
  imageId: string;
  leg: 'upload' | 'transfer';
  bytes: number;
  /** Bytes; null while the client has not declared the length. */
  total: number | null;
};
export type ReportProgress = (progress: Progress) => void;

/** A subscriber to one topic. `onResync` means that announcements may be missing: read the ticket or list again. */
export type Listener = { onChange(change: Announcement): void; onProgress(progress: Progress): void; onResync(): void };
export type Topic = { ticketId: string } | { userId: string };

/** The image that changed and its new state, known without parsing the announcement. */
export type Heading = Pick<Image, 'ticketId' | 'staging' | 'status' | 'size'> & { imageId: string; userId: string };
/** A subscriber to every image of every ticket, which needs the heading of each change only. */
export type Watcher = Pick<Listener, 'onResync'> & {
  onImage(heading: Heading): void;
  /** `fromHere` is true for progress that this process reported. */
  onProgress(progress: Progress, fromHere: boolean): void;
};

/** Brings committed changes from every process to the listeners of this process. */
export type Hub = {
  subscribe(topic: Topic, listener: Listener): () => void;
  /** Calls the watcher for every image, whatever its ticket. */
  watch(watcher: Watcher): () => void;
  /** Takes progress; listeners get at most four reports a second per image, and always the last report. */
  report: ReportProgress;
  close(): Promise<void>;
};

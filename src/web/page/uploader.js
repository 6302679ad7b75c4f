/** @import { Image, Progress } from './wire.d.ts' */
import { readProblem } from 'hopla/client';
import { Dashboard, GoldenRetriever, Tus, Uppy, Webcam } from 'uppy';
import { formatBytes, percentOf } from './format.js';
import { forgetOpening, openingKey, randomText } from './session.js';
import { thumbnailOf } from './stage.js';
import { texts } from './uploader-texts.js';

/**
 * What each file carries along: the ticket that it goes to and its own name for its place there.
 *
 * @typedef {{ ticketId?: string, slot?: string, name: string, type?: string }} PhotoMeta
 */

/** Browsers keep six connections per host; the events need one, and calls another. */
const SIMULTANEOUS = 4;
/** About three minutes without a single byte; then the photo waits for a press of retry, or for the network's return. */
const RETRY_DELAYS_MS = [250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 30_000, 60_000, 60_000];
const LOST = 'The connection was lost too often. It goes on from here when you press retry.';
const MEBIBYTE = 1024 * 1024;

/**
 * The chooser and what uploads: Uppy. A photo counts as complete for it when it is delivered, not when it is uploaded:
 * the way to the cloud is its post-processing.
 *
 * @param {{
 *   id: string,
 *   keeps: boolean,
 *   target: HTMLElement,
 *   maxImageBytes: number,
 *   accept: string,
 *   openTicket: (images: number, key: string) => Promise<string>,
 *   tokenOf: (ticketId: string) => string,
 *   onRestored: (ticketIds: string[]) => void,
 *   onDone: () => void,
 * }} options `keeps`: photos survive a reload; `id` is their name
 */
export function createUploader({ id, keeps, target, maxImageBytes, accept, openTicket, tokenOf, onRestored, onDone }) {
  /** @type {Uppy<PhotoMeta, Record<string, never>>} */
  const uppy = new Uppy({
    id,
    logger: { debug() {}, warn() {}, error() {} },
    // From the beginning, so that a reload at any moment finds the same place of the ticket again.
    onBeforeFileAdded: (file) => ({ ...file, meta: { ...file.meta, slot: randomText() } }),
    restrictions: { maxFileSize: maxImageBytes, allowedFileTypes: accept === '' ? null : accept.split(',') },
    locale: /** @type {any} */ (texts),
  });
  uppy.use(Dashboard, {
    target,
    inline: true,
    width: '100%',
    height: matchMedia('(min-width: 960px)').matches ? 520 : 420,
    theme: 'auto',
    note: `Photos of up to ${formatBytes(maxImageBytes)}`,
    fileManagerSelectionType: matchMedia('(pointer: coarse)').matches ? 'files' : 'both',
    proudlyDisplayPoweredByUppy: false,
    doneButtonHandler: onDone,
    locale: texts,
  });
  // Browsers have no camera for pages that come over plain HTTP.
  if (navigator.mediaDevices) {
    // Else it takes the first of the types that may be chosen, HEIC, for what it has made.
    uppy.use(Webcam, { modes: ['picture'], preferredImageMimeType: 'image/jpeg' });
  }
  uppy.use(Tus, {
    limit: SIMULTANEOUS,
    retryDelays: RETRY_DELAYS_MS,
    allowedMetaFields: ['name', 'type', 'slot'],
    // Where an upload stands is kept with its file, below; a second list in localStorage would outlive it.
    storeFingerprintForResuming: false,
    onBeforeRequest(request, file) {
      request.setHeader('Authorization', `Bearer ${tokenOf(`${file.meta.ticketId}`)}`);
    },
    onError: explain,
  });
  if (keeps)
    uppy.use(GoldenRetriever, {
      indexedDB: /** @type {any} */ ({ maxFileSize: maxImageBytes, maxTotalSize: 2048 * MEBIBYTE }),
    });

  /** Files that no repeat would make acceptable. @type {Set<string>} */
  const refused = new Set();
  /** The newest state of each image of ours, by slot. @type {Map<string, Image>} */
  const images = new Map();
  /** @type {Map<string, () => void>} */
  const waiting = new Map();

  uppy.addPreProcessor(async (ids) => {
    const files = ids.map((fileId) => uppy.getFile(fileId)).filter((file) => file && !file.meta.ticketId);
    if (files.length === 0) return;
    for (const file of files)
      uppy.emit('preprocess-progress', file, { mode: 'indeterminate', message: 'Opening the ticket' });
    try {
      const key = openingKey(files.map((file) => file.id));
      const ticketId = await openTicket(files.length, key);
      for (const file of files) assign(file.id, ticketId);
    } catch (error) {
      throw Object.assign(new Error(/** @type {Error} */ (error).message), { isUserFacing: true, mayPressAgain: true });
    } finally {
      for (const file of files) if (uppy.getFile(file.id)) uppy.emit('preprocess-complete', uppy.getFile(file.id));
    }
  });

  uppy.addPostProcessor(async (ids) => {
    await Promise.all(ids.map((fileId) => settled(fileId)));
  });

  /** @param {string} fileId @param {string} ticketId */
  const assign = (fileId, ticketId) => {
    uppy.setFileMeta(fileId, { ...uppy.getFile(fileId).meta, ticketId });
    uppy.setFileState(fileId, { tus: { endpoint: `/v1/tickets/${ticketId}/uploads` } });
  };

  /** Resolves when nothing more will happen to a file: delivered, failed or removed. @param {string} fileId */
  const settled = (fileId) => {
    /** @type {Promise<void>} */
    const done = new Promise((resolve) => waiting.set(fileId, resolve));
    review(fileId);
    return done;
  };

  /** Brings a file in line with what is known of its image. @param {string} fileId */
  const review = (fileId) => {
    const file = uppy.getFile(fileId);
    const image = file?.meta.slot ? images.get(file.meta.slot) : undefined;
    if (file?.progress.uploadComplete && image && !file.progress.complete) {
      if (image.status === 'stored') {
        if (image.url) showStored(fileId, thumbnailOf(image.url));
        uppy.emit('postprocess-complete', uppy.getFile(fileId));
      } else if ((image.status === 'rejected' || image.status === 'failed') && !file.error) {
        if (image.status === 'rejected') refused.add(fileId);
        uppy.emit('upload-error', file, new Error(image.error?.message ?? 'This photo was not accepted.'));
      }
    } else if (file?.progress.complete && image?.url && !file.preview) {
      // Delivered before a reload, which forgets the pictures of those that it need not keep.
      showStored(fileId, thumbnailOf(image.url));
    }
    const now = uppy.getFile(fileId);
    if (now && !now.error && !now.progress.complete) return;
    waiting.get(fileId)?.();
    waiting.delete(fileId);
  };

  /** The stored picture in place of the local one, where the browser can show it: no HEIC, for most. @param {string} fileId @param {string} url */
  const showStored = (fileId, url) => {
    const picture = new Image();
    picture.addEventListener('load', () => {
      if (uppy.getFile(fileId)) uppy.setFileState(fileId, { preview: url });
    });
    picture.src = url;
  };

  /**
   * At the first photo that fails Uppy says that some were not sent, in red and with a button that begins them again. Here
   * it says so when nothing is under way any more, and offers the button only where a repeat can help.
   */
  const tellFailures = () => {
    const failed = uppy.getFiles().filter((file) => file.error);
    const again = failed.some((file) => !refused.has(file.id));
    target.toggleAttribute('data-final', failed.length > 0 && !again);
    const busy = uppy.getFiles().some((file) => file.progress.uploadStarted && !file.error && !file.progress.complete);
    if (busy || failed.length === 0) uppy.setState({ error: null });
    else
      uppy.setState({
        error: again ? 'Retry, or choose other photos.' : 'The ticket says why; choose other photos in their place.',
      });
  };

  uppy.on('error', (error) => {
    // Nothing was sent: not an upload to retry, which would find no failed photo, but one that has not begun.
    if ('mayPressAgain' in error) uppy.setState({ error: null });
  });
  uppy.on('complete', () => {
    forgetOpening();
    tellFailures();
  });
  uppy.on('cancel-all', forgetOpening);
  uppy.on('upload-success', (file) => file && review(file.id));
  uppy.on('upload-error', (file, error) => {
    if (file && isFinal(error)) refused.add(file.id);
    if (file) review(file.id);
    tellFailures();
  });
  uppy.on('file-removed', (file) => {
    review(file.id);
    tellFailures();
  });
  uppy.on('restored', () => {
    const files = uppy.getFiles();
    onRestored([...new Set(files.flatMap((file) => file.meta.ticketId ?? []))]);
    const whole = files.every((file) => !file.isGhost);
    if (whole && Object.keys(uppy.getState().currentUploads).length > 0) uppy.emit('restore-confirmed');
  });
  window.addEventListener('online', () => {
    for (const file of uppy.getFiles()) if (file.error === LOST) uppy.retryUpload(file.id).catch(() => {});
  });

  return {
    /** True while photos are on their way to the server. */
    get busy() {
      return uppy
        .getFiles()
        .some((file) => file.progress.uploadStarted && !file.progress.uploadComplete && !file.error);
    },
    /** Tickets of photos that are not delivered yet. */
    get unsettledTickets() {
      const unsettled = uppy.getFiles().filter((file) => !file.progress.complete && !file.error);
      return [...new Set(unsettled.flatMap((file) => file.meta.ticketId ?? []))];
    },
    /** Takes note of an image. @param {Image} image */
    note(image) {
      const file = image.slot ? fileIn(image.slot) : undefined;
      if (!image.slot || !file) return;
      images.set(image.slot, image);
      review(file.id);
    },
    /** Takes note of how far an image is on its way to the cloud. @param {Progress} progress */
    noteProgress({ imageId, leg, bytes, total }) {
      const image = [...images.values()].find((known) => known.id === imageId);
      const file = image?.slot && leg === 'transfer' ? fileIn(image.slot) : undefined;
      if (!file?.progress.uploadComplete || file.progress.complete || file.error) return;
      uppy.emit('postprocess-progress', file, {
        mode: 'determinate',
        value: percentOf(bytes, total) / 100,
        message: 'On the way to the cloud',
      });
    },
    /** The chooser's own small picture. @param {Image} image */
    previewOf(image) {
      return (image.slot && fileIn(image.slot)?.preview) || null;
    },
    /**
     * Uploads files to a ticket that is open already; `replaced` is the slot of a rejected one that they stand for.
     *
     * @param {FileList} files
     * @param {string} ticketId
     * @param {string | null} replaced
     */
    async addTo(files, ticketId, replaced) {
      const old = replaced ? fileIn(replaced) : undefined;
      if (old) uppy.removeFile(old.id);
      for (const file of files) {
        try {
          assign(uppy.addFile({ name: file.name, type: file.type, data: file, source: 'ticket' }), ticketId);
        } catch {
          // Too large, or chosen already: Uppy has said so.
        }
      }
      await uppy.upload();
    },
    clear() {
      images.clear();
      uppy.clear();
    },
    /** Stops and forgets everything, on this device and, where it is not yet received, on the server. */
    cancel() {
      uppy.cancelAll();
    },
    destroy() {
      uppy.destroy();
    },
  };

  /** @param {string} slot */
  function fileIn(slot) {
    return uppy.getFiles().find((file) => file.meta.slot === slot);
  }
}

/** Whether the server said no, and will again. @param {any} error */
function isFinal(error) {
  return [410, 413, 415, 422].includes(error.originalResponse?.getStatus() ?? 0);
}

/** Puts what people can read in place of the client's technical message. @param {any} error */
function explain(error) {
  const response = error.originalResponse;
  const status = response?.getStatus() ?? 0;
  error.message = status === 0 ? LOST : readProblem(response.getBody() ?? '', status).message;
}

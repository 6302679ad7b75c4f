import type { Image, PhotoResult, TicketEvent } from 'hopla/client';
import type { LocalPhoto } from './photos.ts';

/** What became of a photo. */
export type Outcome = {
  photo: LocalPhoto;
  status: 'stored' | 'refused' | 'failed';
  url: string | null;
  error: { code: string; message: string } | null;
};

/** Bytes of all photos on both legs of their way; what is refused counts as having arrived. */
export type Legs = { total: number; sent: number; stored: number; photos: number; received: number; delivered: number };

/** Follows every photo on its way, by what the client and the event stream tell. */
export function createJourney(photos: LocalPhoto[], onOutcome: (outcome: Outcome) => void) {
  const sent = new Map<string, number>();
  const moved = new Map<string, number>();
  const images = new Map<string, Image>();
  const imageIds = new Map<string, string>();
  const outcomes = new Map<string, Outcome>();

  const settle = (photo: LocalPhoto, status: Outcome['status'], url: string | null, error: Outcome['error']) => {
    if (outcomes.has(photo.slot)) return;
    const outcome = { photo, status, url, error };
    outcomes.set(photo.slot, outcome);
    onOutcome(outcome);
  };
  const look = () => {
    for (const photo of photos) {
      const image = images.get(imageIds.get(photo.slot) ?? '');
      if (image?.status === 'stored') settle(photo, 'stored', image.url, null);
      else if (image?.status === 'failed') settle(photo, 'failed', null, image.error);
      else if (image?.status === 'rejected') settle(photo, 'refused', null, image.error);
    }
  };

  return {
    onSent: (slot: string, bytes: number) => sent.set(slot, bytes),
    onResult(result: PhotoResult): void {
      const photo = photos.find(({ slot }) => slot === result.slot);
      if (!photo) return;
      if (result.status === 'received') imageIds.set(result.slot, result.imageId);
      else settle(photo, 'refused', null, { code: result.error.code, message: result.error.message });
      look();
    },
    onEvent({ type, data }: TicketEvent): void {
      if (type === 'snapshot') for (const image of data.images) images.set(image.id, image);
      else if (type === 'image') images.set(data.id, data);
      else if (type === 'progress' && data.leg === 'transfer') moved.set(data.imageId, data.bytes);
      look();
    },
    isOver: () => outcomes.size === photos.length,
    /** In the order of the photos. */
    outcomes: () => photos.flatMap(({ slot }) => outcomes.get(slot) ?? []),
    legs(): Legs {
      const legs = { total: 0, sent: 0, stored: 0, photos: photos.length, received: 0, delivered: 0 };
      for (const { slot, bytes } of photos) {
        const id = imageIds.get(slot);
        const status = outcomes.get(slot)?.status;
        // It goes nowhere: no part of either way.
        if (status === 'refused') continue;
        legs.total += bytes;
        legs.sent += id === undefined ? (sent.get(slot) ?? 0) : bytes;
        legs.stored += status === 'stored' ? bytes : Math.min(bytes, moved.get(id ?? '') ?? 0);
        legs.received += id === undefined ? 0 : 1;
        legs.delivered += status === 'stored' ? 1 : 0;
      }
      return legs;
    },
  };
}

import type { Evidence } from './evidence.ts';
import { type Finding, finding } from './finding.ts';
import type { Entry } from './journal.ts';
import type { Photo } from './plan.ts';
import type { StoredAsset } from './store.ts';

/** What was promised about photos: none lost, none doubled, none changed, and none kept here. */
export function checkPhotos(evidence: Evidence): Finding[] {
  const photos = new Map(evidence.plan.tickets.flatMap((ticket) => ticket.photos).map((photo) => [photo.id, photo]));
  const told = evidence.journal.filter((entry) => entry.kind === 'told');
  const owners = uploadOwners(evidence.journal);
  const assetOf = new Map(evidence.assets.map((asset) => [asset.publicId.split('/').at(-1), asset]));
  const holders = assetsByPhoto(evidence.assets, photos, owners);

  const lost: string[] = [];
  const different: string[] = [];
  for (const { photo, upload } of told) {
    const asset = assetOf.get(upload);
    const { sha256 = '', size = 0 } = photos.get(photo) ?? {};
    if (asset && asset.sha256 !== sha256)
      different.push(
        `photo ${photo}, upload ${upload}: ${asset.bytes} of ${size} bytes are stored, sha256 ${asset.sha256}`,
      );
    if (!holders.get(photo)?.some((holder) => holder.sha256 === sha256))
      lost.push(`photo ${photo}, upload ${upload}: acknowledged, and not in the storage`);
  }
  const wasTold = new Set(told.map(({ photo }) => photo));
  const most = mostAssets(evidence.journal);
  const doubled = [...photos.values()].flatMap((wanted) => {
    const { id: photo } = wanted;
    const count = holders.get(photo)?.length ?? 0;
    const wrong = (wasTold.has(photo) && count === 0) || count > most(wanted);
    return wrong
      ? [`photo ${photo}: ${count} assets ${(holders.get(photo) ?? []).map((a) => a.publicId).join(' ')}`]
      : [];
  });
  const known = new Set([...holders.values()].flat());
  const strangers = evidence.assets.filter((asset) => !known.has(asset));
  return [
    finding('acknowledged photos lost', `${told.length} photos acknowledged`, lost),
    finding('stored bytes that differ', `${evidence.assets.length} assets read back`, different),
    finding('assets per photo other than one', describeArrivals(evidence, photos), doubled),
    finding(
      'assets that belong to no photo',
      `${evidence.assets.length} assets`,
      strangers.map(({ publicId }) => publicId),
    ),
    checkPatience(evidence, photos),
  ];
}

/**
 * A photo that comes whole with its creation, and without a slot: the protocol has no way to tell the second POST of its
 * client, who lost the answer to the first, from a second photo. It may be there once for each POST, and no more often.
 */
function mostAssets(journal: readonly Entry[]): (photo: Photo) => number {
  const posts = Map.groupBy(
    journal.filter((entry) => entry.kind === 'asked' && entry.method === 'POST'),
    (entry) => (entry.kind === 'asked' ? entry.photo : ''),
  );
  return ({ id, slot, withCreation }) => (slot === null && withCreation ? (posts.get(id)?.length ?? 0) : 1);
}

function describeArrivals({ journal }: Evidence, photos: Map<string, Photo>): string {
  const whole = journal.filter((entry) => entry.kind === 'moved' && entry.from === null && entry.to === 'received');
  const bodies = [...photos.values()].filter(({ withCreation }) => withCreation);
  return `${photos.size} photos, ${bodies.length} sent with their creation, ${whole.length} received whole with it`;
}

/** Which photo each upload was made for, as the answers said. */
function uploadOwners(journal: readonly Entry[]): Map<string, string> {
  return new Map(
    journal.flatMap((entry) =>
      (entry.kind === 'response' || entry.kind === 'told') && entry.upload ? [[entry.upload, entry.photo]] : [],
    ),
  );
}

/** An asset is a photo's by its bytes, or by the upload that it is named after. */
function assetsByPhoto(
  assets: readonly StoredAsset[],
  photos: Map<string, Photo>,
  owners: Map<string, string>,
): Map<string, StoredAsset[]> {
  const bySha256 = new Map([...photos.values()].map(({ id, sha256 }) => [sha256, id]));
  return Map.groupBy(
    assets.filter((asset) => photoOf(asset) !== undefined),
    (asset) => photoOf(asset) ?? '',
  );
  function photoOf({ sha256, publicId }: StoredAsset): string | undefined {
    return bySha256.get(sha256) ?? owners.get(publicId.split('/').at(-1) ?? '');
  }
}

/** Clients are patient and everything heals: only who came too late for the last place may have to give up. */
function checkPatience({ plan, journal }: Evidence, photos: Map<string, Photo>): Finding {
  const gaveUp = new Map(journal.flatMap((entry) => (entry.kind === 'gave-up' ? [[entry.photo, entry]] : [])));
  const told = new Set(journal.flatMap((entry) => (entry.kind === 'told' ? [entry.photo] : [])));
  const violations = plan.tickets.flatMap((ticket) => {
    const full = ticket.photos.filter(({ id }) => gaveUp.get(id)?.message.includes('ticket-full'));
    const allowed = new Set(full.slice(0, Math.max(0, ticket.photos.length - ticket.places)).map(({ id }) => id));
    return ticket.photos.flatMap(({ id }) => {
      if (told.has(id) || allowed.has(id)) return [];
      const entry = gaveUp.get(id);
      return [`photo ${id} of ${ticket.id}: ${entry ? `${entry.status} ${entry.message}` : 'never came to an end'}`];
    });
  });
  return finding('photos that their client could not deliver', `${photos.size} photos`, violations);
}

import type { Database } from '../database/connection.ts';

/** What was learnt of an image while its bytes came in. */
export type ReceivedFacts = {
  size: number;
  /** Lower-case hex, of the whole file. */
  sha256: string;
  md5: string;
  contentType: string | null;
  format: string | null;
  width: number | null;
  height: number | null;
};

/** An upload whose bytes are all here, and durable. */
export type ReceivedImage = { imageId: string; ticketId: string; holder: string | null; facts: ReceivedFacts };

export function receivedColumns({ contentType, ...facts }: ReceivedFacts) {
  return { ...facts, content_type: contentType };
}

/**
 * Counts many images as received in one statement; their transfers must be queued in the same transaction. Resolves to the
 * ids of those that were still `uploading`, and by the process that says so (`holder`). Each is one version of its ticket.
 *
 * Locks the tickets in the order of their ids, before any image.
 */
export async function receiveImages(db: Database, arrived: ReceivedImage[]): Promise<string[]> {
  const wanted = arrived.map(({ imageId, holder, facts }) => ({ imageId, holder, ...receivedColumns(facts) }));
  const { rows } = (await db.raw(
    `WITH arrived AS (
       SELECT * FROM json_to_recordset(?::json) AS arrived (
         "imageId" uuid, holder text, size bigint, sha256 text, md5 text, content_type text, format text, width int, height int)
     ), held AS (
       SELECT images.id, images.size FROM tickets JOIN images ON images.ticket_id = tickets.id
       JOIN arrived ON arrived."imageId" = images.id AND arrived.holder IS NOT DISTINCT FROM images.holder
       WHERE images.status = 'uploading'
       ORDER BY tickets.id, images.id FOR NO KEY UPDATE OF tickets, images
     ), moved AS (
       UPDATE images SET status = 'received', size = arrived.size, sha256 = arrived.sha256, md5 = arrived.md5,
         content_type = arrived.content_type, format = arrived.format, width = arrived.width, height = arrived.height,
         received_at = now(), updated_at = now()
       FROM arrived JOIN held ON held.id = arrived."imageId" WHERE images.id = held.id
       RETURNING images.*, images.size - coalesce(held.size, 0) AS grown
     ), numbered AS (
       SELECT id, row_number() OVER backwards - 1 AS later, sum(size) OVER backwards - size AS bytes_later,
              sum(grown) OVER backwards - grown AS grown_later
       FROM moved WINDOW backwards AS (PARTITION BY ticket_id ORDER BY id DESC)
     ), counted AS (
       UPDATE tickets SET received = received + new.images, bytes_received = bytes_received + new.bytes,
         bytes_total = bytes_total + new.grown, version = version + new.images, updated_at = now()
       FROM (SELECT ticket_id, count(*) AS images, sum(size) AS bytes, sum(grown) AS grown FROM moved GROUP BY ticket_id) AS new
       WHERE tickets.id = new.ticket_id RETURNING tickets.*
     )
     SELECT moved.id, announce(
       -- As the ticket stood with this image, and before the later ones.
       CASE later WHEN 0 THEN to_jsonb(counted) ELSE to_jsonb(counted) || jsonb_build_object(
         'version', version - later, 'received', received - later, 'bytes_received', bytes_received - bytes_later,
         'bytes_total', bytes_total - grown_later, 'status', CASE WHEN expired THEN 'expired' ELSE 'uploading' END) END,
       to_jsonb(moved) - 'grown')
     FROM moved JOIN numbered USING (id) JOIN counted ON counted.id = moved.ticket_id ORDER BY moved.id`,
    [JSON.stringify(wanted)],
  )) as { rows: { id: string }[] };
  return rows.map(({ id }) => id);
}

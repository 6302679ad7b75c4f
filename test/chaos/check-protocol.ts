import type { Evidence } from './evidence.ts';
import { type Finding, finding } from './finding.ts';

/** After these a stock client forgets the upload and begins another from its first byte. */
const startsOver = (status: number) => [401, 403, 404, 410, 429].includes(status) || status >= 500;

/** What was promised about the answers to clients. */
export function checkProtocol({ journal, records }: Evidence): Finding[] {
  const responses = journal.filter((entry) => entry.kind === 'response');
  const heads = responses.filter(({ method }) => method === 'HEAD');
  const failures = heads.filter(({ status }) => status >= 500);
  const unforeseen = responses.filter(({ status }) => status === 500);
  // A whole image that its process could not commit, and took with it when it was killed: nobody was told that it is safe,
  // and its client has to send it again.
  const known = records && new Set(records.images.map(({ id }) => id));
  const neverKnown = (upload: string | null) => known !== null && upload !== null && !known.has(upload);
  const restarts = heads.filter(
    ({ status, upload }) => status < 500 && startsOver(status) && !(status === 404 && neverKnown(upload)),
  );

  const furthest = new Map<string, number>();
  const backwards: string[] = [];
  let offsets = 0;
  for (const { at, photo, method, upload, status, offset } of responses) {
    if (upload === null || offset === null || (status !== 409 && status >= 300)) continue;
    offsets += 1;
    const before = furthest.get(upload) ?? 0;
    if (offset < before)
      backwards.push(`upload ${upload} of ${photo}: ${method} ${status} said ${offset} after ${before}, at ${at} ms`);
    furthest.set(upload, Math.max(before, offset));
  }
  const describe = ({ at, photo, method, upload, status }: (typeof heads)[number]) =>
    `upload ${upload} of ${photo}: ${method} ${status} at ${at} ms`;
  return [
    finding('offsets that went backwards', `${offsets} offsets in answers`, backwards),
    finding('5xx on HEAD', `${heads.length} answers to HEAD`, failures.map(describe)),
    finding('HEAD answers that make clients start over', `${heads.length} answers to HEAD`, restarts.map(describe)),
    // 503 and 507 say what is wrong; this one says that nobody thought of it.
    finding('answers 500', `${responses.length} answers`, unforeseen.map(describe)),
  ];
}

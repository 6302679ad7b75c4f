import type { Evidence } from './evidence.ts';
import { type Finding, finding } from './finding.ts';
import type { Entry } from './journal.ts';

/** Work goes on within this time of the end of whatever kept it. */
const PROGRESS_MS = 15_000;
/** A process that was killed resumes its transfers this soon after its next life is ready. */
const OWN_MS = 5_000;
/** Another process takes over those of a dead one this soon. */
const TAKEOVER_MS = 15_000;

/** A time without any disturbance. */
type Calm = { from: number; to: number };

/** How soon everything went on. Times that the next disturbance cut short count neither way. */
export function checkRecovery({ journal, processes }: Evidence): Finding[] {
  const calms = calmTimes(journal);
  const findings = [checkProgress(journal, calms)];
  if (journal.some((entry) => entry.kind === 'moved')) findings.push(checkResumption(journal, processes));
  return findings;
}

function calmTimes(journal: readonly Entry[]): Calm[] {
  const end = journal.at(-1)?.at ?? 0;
  const calms: Calm[] = [];
  let running = 0;
  for (const { at, kind } of journal) {
    if (kind === 'begin') {
      const calm = calms.at(-1);
      if (running === 0 && calm) calm.to = at;
      running += 1;
    } else if (kind === 'end') {
      running -= 1;
      if (running === 0) calms.push({ from: at, to: end });
    }
  }
  return calms;
}

function checkProgress(journal: readonly Entry[], calms: Calm[]): Finding {
  const times: number[] = [];
  const violations: string[] = [];
  for (const { from, to } of calms) {
    if (!uploadsUnderWay(journal, from)) continue;
    const next = journal.find((entry) => entry.at > from && isProgress(entry));
    const ms = (next?.at ?? to) - from;
    if (next && next.at <= to) times.push(ms);
    if (ms > PROGRESS_MS && to - from > PROGRESS_MS)
      violations.push(`nothing moved for ${seconds(ms)} s after ${Math.round(from)} ms, when all was right again`);
  }
  return finding(
    `work that did not go on within ${PROGRESS_MS / 1000} s`,
    `${times.length} recoveries, ${spread(times)}`,
    violations,
  );
}

/** Whether some client was in the middle of an upload at that time. */
function uploadsUnderWay(journal: readonly Entry[], time: number): boolean {
  let running = 0;
  for (const { at, kind } of journal) {
    if (at > time) break;
    if (kind === 'started') running += 1;
    if (kind === 'told' || kind === 'gave-up') running -= 1;
  }
  return running > 0;
}

function isProgress(entry: Entry): boolean {
  if (entry.kind === 'told') return true;
  if (entry.kind === 'moved') return entry.to !== 'expired';
  return entry.kind === 'response' && entry.status < 300 && entry.method !== 'HEAD';
}

/** Looks at every image that was being transferred when a process was killed, and when it moved next. */
function checkResumption(journal: readonly Entry[], processes: 1 | 2): Finding {
  const limitMs = processes === 1 ? OWN_MS : TAKEOVER_MS;
  const times: number[] = [];
  const violations: string[] = [];
  const transferring = new Map<string, number>();
  for (const [index, entry] of journal.entries()) {
    if (entry.kind === 'moved') {
      if (entry.to === 'transferring') transferring.set(entry.image, entry.at);
      else transferring.delete(entry.image);
    }
    if (entry.kind !== 'process' || entry.event !== 'exited' || entry.how !== 'SIGKILL') continue;
    const rest = journal.slice(index + 1);
    // With one process the clock starts with its next life, with two at once.
    const again = processes === 1 ? rest.find((later) => later.kind === 'process' && later.event === 'ready') : entry;
    if (!again) continue;
    for (const image of transferring.keys()) {
      const next = rest.find((later) => later.kind === 'moved' && later.image === image);
      const moved = next?.at ?? Number.POSITIVE_INFINITY;
      // The same disturbance may go on for as long as the process needs to come back; another one must not begin.
      const other = rest.find((later) => later.kind === 'begin' && later.at < moved);
      const killedAgain = rest.find((l) => l.kind === 'process' && l.event === 'exited' && l.at < moved);
      if (killedAgain || isDisturbedBeyond(journal, index) || (other && other.at < again.at + limitMs)) continue;
      if (next) times.push(Math.max(0, moved - again.at));
      if (moved - again.at > limitMs)
        violations.push(
          `image ${image}: its transfer, interrupted at ${Math.round(entry.at)} ms, went on ${next ? `${seconds(moved - again.at)} s later` : 'never'}`,
        );
    }
  }
  return finding(
    `interrupted transfers not resumed within ${limitMs / 1000} s`,
    `${times.length} transfers, ${spread(times)}`,
    violations,
  );
}

/** Whether anything but the kill itself was going on at that place of the journal. */
function isDisturbedBeyond(journal: readonly Entry[], index: number): boolean {
  const running = new Set<number>();
  for (const entry of journal.slice(0, index)) {
    if (entry.kind === 'begin') running.add(entry.disturbance);
    if (entry.kind === 'end') running.delete(entry.disturbance);
  }
  return running.size > 1;
}

function spread(times: number[]): string {
  if (times.length === 0) return 'none to be measured';
  const sorted = times.toSorted((a, b) => a - b);
  return `median ${seconds(sorted[Math.floor(sorted.length / 2)] ?? 0)} s, slowest ${seconds(sorted.at(-1) ?? 0)} s`;
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(1);
}

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

type Usage = { cpuSeconds: number; residentBytes: number; peakBytes: number };

/** CPU seconds that a process has used; the memory it has resident, and the most it ever had, in bytes (proc(5)). */
export async function usageOf(pid: number): Promise<Usage> {
  const [{ own }, status] = await Promise.all([cpuSecondsOf(pid), readFile(`/proc/${pid}/status`, 'utf8')]);
  return {
    cpuSeconds: own,
    residentBytes: Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024,
    peakBytes: Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024,
  };
}

/** CPU seconds of all of a Postgres, by its data directory. */
export async function cpuSecondsOfPostgres(directory: string): Promise<number> {
  return cpuSecondsOfFamily(Number.parseInt(await readFile(join(directory, 'postmaster.pid'), 'utf8'), 10));
}

/** CPU seconds of a process and its children, those that have ended included. */
export async function cpuSecondsOfFamily(pid: number): Promise<number> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8');
  const pids = children.split(' ').filter(Boolean).map(Number);
  // One may end between being named and being looked at: its time is then in its parent's.
  const living = await Promise.all(pids.map((child) => cpuSecondsOf(child).catch(() => ({ own: 0, ended: 0 }))));
  const { own, ended } = await cpuSecondsOf(pid);
  return living.reduce((sum, child) => sum + child.own, own + ended);
}

async function cpuSecondsOf(pid: number): Promise<{ own: number; ended: number }> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  // Behind the command in brackets: fields 14 and 15 are utime and stime, 16 and 17 those of ended children, in 1/100 s.
  const fields = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number);
  const seconds = (user: number) => ((fields[user] ?? 0) + (fields[user + 1] ?? 0)) / 100;
  return { own: seconds(11), ended: seconds(13) };
}

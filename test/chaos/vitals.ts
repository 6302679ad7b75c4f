import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Vitals } from './evidence.ts';
import { readHeap } from './heap.ts';
import type { Service } from './service.ts';

/** Looks at a process from outside. Null when it is not there. */
export async function readVitals(
  { index, pid, port, inspectPort }: Service,
  stagingDirectory: string,
): Promise<Vitals | null> {
  if (pid === undefined) return null;
  try {
    const heapBytes = await readHeap(pid, inspectPort);
    const names = await readdir(`/proc/${pid}/fd`);
    const links = await Promise.all(names.map((name) => readlink(join(`/proc/${pid}/fd`, name)).catch(() => '')));
    const clients = await socketsAt(pid, port);
    const status = await readFile(`/proc/${pid}/status`, 'utf8');
    return {
      index,
      descriptors: links.filter(Boolean).length,
      clientSockets: links.filter((link) => clients.has(link)).length,
      stagedFiles: links.filter((link) => link.startsWith(`${stagingDirectory}/`)).length,
      rssBytes: Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024,
      heapBytes,
    };
  } catch {
    // ENOENT: it ended while we looked.
    return null;
  }
}

/** The established connections of local port `port`, as /proc names them. Fields: proc_pid_net(5), under /net/tcp. */
async function socketsAt(pid: number, port: number): Promise<Set<string>> {
  const local = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const lines = (await readFile(`/proc/${pid}/net/tcp`, 'utf8')).trim().split('\n').slice(1);
  const fields = lines.map((line) => line.trim().split(/\s+/));
  return new Set(
    fields
      .filter(([, address = '', , state]) => address.endsWith(local) && state === '01')
      .map((field) => `socket:[${field[9]}]`),
  );
}

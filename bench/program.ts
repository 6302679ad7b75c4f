import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** A program of `contenders/`, in a process of its own, with a folder for its files. */
export type Program = { url: string; pid: number; directory: string; close(): Promise<void> };

export async function startProgram(
  file: string,
  options: string[] = [],
  env: Record<string, string> = {},
): Promise<Program> {
  const directory = await mkdtemp(join(tmpdir(), 'hopla-bench-'));
  const program = fileURLToPath(new URL(file, import.meta.url));
  const child = spawn(process.execPath, [program, directory, ...options], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return {
    url: await firstMatch(child, /listening (\S+)/),
    pid: child.pid ?? 0,
    directory,
    async close() {
      await stopProgram(child, 'SIGKILL');
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** What the first line that matches says; rejects when the program ends before. */
export async function firstMatch(child: ChildProcess, pattern: RegExp): Promise<string> {
  if (!child.stdout) throw new Error('the program has no output to read');
  for await (const line of createInterface({ input: child.stdout })) {
    const found = pattern.exec(line)?.[1];
    if (found) return found;
  }
  throw new Error('the program ended before it listened');
}

export async function stopProgram(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill(signal);
  await once(child, 'exit');
}

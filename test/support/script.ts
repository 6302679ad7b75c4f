import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';

/** Runs the text of a module in a new process, and resolves to the standard output. */
export function runScript(script: string, flags: string[]): Promise<string> {
  const child = spawn(process.execPath, [...flags, '--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return text(child.stdout);
}

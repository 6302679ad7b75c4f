import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';

/** What a process of its own prints that runs the text of a module. */
export function runScript(script: string, flags: string[]): Promise<string> {
  const child = spawn(process.execPath, [...flags, '--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return text(child.stdout);
}

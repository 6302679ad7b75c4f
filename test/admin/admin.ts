import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { adminCommand } from '../../src/admin/cli/commands.ts';
import { openAdminEnvironment } from '../../src/admin/environment.ts';
import type { Config } from '../../src/config.ts';
import type { Json } from '../support/client.ts';

/** What came of a command. `json` is its output read as JSON. */
export type Ended = { code: number; stdout: string; stderr: string; readonly json: Json };

type Sitting = {
  /** Columns of the terminal that somebody sits at; without it nobody does. */
  columns?: number;
  /** What is typed, or piped in, each part when the command asks. */
  input?: string[];
};

export type Admin = (args: string[], sitting?: Sitting) => Promise<Ended>;

/** Runs commands in this process, on streams in place of a terminal. */
export function createAdmin(config: Config): Admin {
  return async (args, { columns, input = [] } = {}) => {
    const sits = columns !== undefined;
    const stdin = Object.assign(new PassThrough(), { isTTY: sits });
    const stdout = Object.assign(new PassThrough(), { isTTY: sits, ...(sits ? { columns } : {}) });
    const stderr = new PassThrough();
    const typed = [...input];
    const type = () => {
      const next = typed.shift();
      if (next !== undefined) stdin.write(next);
    };
    if (sits) stderr.on('data', (piece) => /[:\]] $/.test(String(piece)) && setImmediate(type));
    else stdin.end(input.join(''));
    const said = Promise.all([text(stdout), text(stderr)]);
    const exit = new Error('the command ended the process');
    const terminal = {
      ...{ stdin, stdout, stderr, exitCode: 0 },
      exit(code: number): never {
        terminal.exitCode = code;
        throw exit;
      },
    };
    const command = adminCommand(() => openAdminEnvironment({ ...config, LOG_LEVEL: 'silent' }), terminal);
    const program = new Command('hopla').addCommand(command);
    await program.parseAsync(['admin', ...args], { from: 'user' }).catch((error) => {
      if (error !== exit) throw error;
    });
    stdout.end();
    stderr.end();
    return ended(terminal.exitCode, ...(await said));
  };
}

/** Runs a command as a process of its own, with nothing in its environment but what is given. */
export async function runAdmin(args: string[], env: Record<string, string>, input = ''): Promise<Ended> {
  const program = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
  const { PATH = '' } = process.env;
  const child = spawn(process.execPath, [program, 'admin', ...args], { cwd: tmpdir(), env: { PATH, ...env } });
  child.stdin.end(input);
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return ended(code, stdout, stderr);
}

function ended(code: number, stdout: string, stderr: string): Ended {
  return {
    code,
    stdout,
    stderr,
    get json() {
      if (code !== 0 && stdout === '') throw new Error(`it ended with ${code}: ${stderr}`);
      return JSON.parse(stdout);
    },
  };
}

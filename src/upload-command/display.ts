import { plain } from '../terminal/plain-text.ts';
import type { Legs } from './journey.ts';

/**
 * What somebody who waits gets to see, on standard error: the results alone go to standard output. A line is of any text:
 * control characters in it are shown and not obeyed.
 */
export type Display = { line(text: string): void; show(legs: Legs): void; end(): void };

type Screen = { write(text: string): unknown; columns?: number };

const EVERY_MS = 100;

/** Lines that stay, for a file or a log: no bars. */
export function plainDisplay(screen: Screen): Display {
  return { line: (text) => screen.write(`${plain(text)}\n`), show() {}, end() {} };
}

/**
 * Lines that stay, and below them two bars that are drawn again and again.
 *
 * By hand: cli-progress, the usual package, had its last release in 2023 and would measure a width for us; listr2 and
 * its like are made for lists of tasks.
 */
export function barDisplay(screen: Screen): Display {
  let drawn = false;
  let drawnAt = 0;
  let latest: Legs | null = null;
  let ended = false;
  const began = performance.now();
  // Up two lines and clear from there to the end of the screen.
  const erase = () => {
    if (drawn) screen.write('\x1b[2A\r\x1b[J');
    drawn = false;
  };
  const draw = () => {
    if (!latest) return;
    erase();
    screen.write(`${bars(latest, (performance.now() - began) / 1000, screen.columns || 80).join('\n')}\n`);
    drawn = true;
    drawnAt = performance.now();
  };
  return {
    line(text) {
      erase();
      screen.write(`${plain(text)}\n`);
      draw();
    },
    show(legs) {
      if (ended) return;
      latest = legs;
      if (performance.now() - drawnAt > EVERY_MS) draw();
    },
    end() {
      draw();
      ended = true;
      latest = null;
      drawn = false;
    },
  };
}

/** One line for each leg, narrower than the screen so that none wraps. */
export function bars(legs: Legs, seconds: number, columns: number): [string, string] {
  const rate = seconds > 1 && legs.sent < legs.total ? `, ${size(legs.sent / seconds)}/s` : '';
  const rows = [
    ['uploading   ', share(legs.sent, legs.total), `${legs.received} of ${legs.photos}${rate}`],
    ['to the cloud', share(legs.stored, legs.total), `${legs.delivered} of ${legs.photos} delivered`],
  ] as const;
  const line = ([name, part, told]: (typeof rows)[number]) => {
    const percent = `${Math.floor(part * 100)} %`.padStart(5);
    const width = Math.max(0, Math.min(40, columns - `${name}  ${percent}  ${told} `.length));
    const full = Math.floor(part * width);
    return `${name} ${'█'.repeat(full)}${'░'.repeat(width - full)} ${percent}  ${told}`.slice(0, columns - 1);
  };
  return [line(rows[0]), line(rows[1])];
}

export function size(bytes: number): string {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

function share(part: number, whole: number): number {
  return whole === 0 ? 1 : Math.min(1, part / whole);
}

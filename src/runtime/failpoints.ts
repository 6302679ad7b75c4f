import { existsSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

/** The points of an image's way at which a process may die: what each leaves behind is in transfers/recovery.ts. */
const points = [
  'place.claimed',
  'upload.written',
  'upload.synced',
  'upload.committed',
  'upload.answered',
  'transfer.fetched',
  'transfer.begun',
  'transfer.sending',
  'transfer.answered',
  'transfer.recorded',
  'transfer.forgotten',
] as const;
type Point = (typeof points)[number];

/** Called where an image reaches a point. Outside of tests that is all that happens. */
export type Reach = (point: Point) => Promise<void> | undefined;

export const passBy: Reach = () => undefined;

type Failpoint = { point: Point; hit: number; act: () => Promise<void> | undefined };

/**
 * Reads what tests put into HOPLA_FAILPOINTS: `<point>[#<nth hit, from 1>]=kill|throw|pause:<file>`, separated by commas.
 * `kill` ends the process as kill -9 does, `throw` throws there, `pause` waits until the file is gone.
 */
export function readFailpoints(text: string | undefined): Reach {
  if (!text) return passBy;
  const failpoints = text.split(',').map(parse);
  const hits = new Map<Point, number>();
  return (point) => {
    const hit = (hits.get(point) ?? 0) + 1;
    hits.set(point, hit);
    return failpoints.find((failpoint) => failpoint.point === point && failpoint.hit === hit)?.act();
  };
}

function parse(text: string): Failpoint {
  const [, name, hit = '1', action = '', file = ''] = /^([a-z.]+)(?:#(\d+))?=(\w+)(?::(.+))?$/.exec(text.trim()) ?? [];
  const point = points.find((known) => known === name);
  const act = point && actionOf(point, action, file);
  if (!act) throw new Error(`HOPLA_FAILPOINTS cannot be understood: ${text}. Points: ${points.join(', ')}`);
  return { point, hit: Number(hit), act };
}

function actionOf(point: Point, action: string, file: string): Failpoint['act'] | undefined {
  switch (action) {
    case 'kill':
      return () => {
        process.kill(process.pid, 'SIGKILL');
        return undefined;
      };
    case 'throw':
      return () => {
        throw new Error(`failpoint ${point}`);
      };
    case 'pause':
      return async () => {
        while (existsSync(file)) await delay(20);
      };
  }
  return undefined;
}

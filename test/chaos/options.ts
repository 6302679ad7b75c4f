import { parseArgs } from 'node:util';

export type Options = {
  seed: string;
  /** How long the disturbances go on; starting, draining and checking come on top. */
  minutes: number;
  photos: number;
  processes: 1 | 2;
  /** `stock` is a plain @tus/server with a FileStore and a finish hook. */
  target: 'hopla' | 'stock';
  json: boolean;
  /** Keeps the folder of the run even when nothing was violated. */
  keep: boolean;
};

const usage = `npm run chaos -- [--seed S] [--minutes M] [--photos N] [--processes 1|2] [--target hopla|stock] [--json] [--keep]`;

/** Reads the command line. Throws an Error that says what is wrong with it. */
export function readOptions(args: string[]): Options {
  const { values } = parseArgs({
    args,
    options: {
      seed: { type: 'string', default: `${Math.floor(Math.random() * 1e6)}` },
      minutes: { type: 'string', default: '1' },
      photos: { type: 'string', default: '200' },
      processes: { type: 'string', default: '1' },
      target: { type: 'string', default: 'hopla' },
      json: { type: 'boolean', default: false },
      keep: { type: 'boolean', default: false },
    },
  });
  const { seed, json, keep, target } = values;
  const minutes = Number(values.minutes);
  const photos = Number(values.photos);
  if (!(minutes > 0 && minutes <= 600)) throw new Error(`--minutes must be above 0 and at most 600\n${usage}`);
  if (!(Number.isInteger(photos) && photos >= 1 && photos <= 100_000))
    throw new Error(`--photos must be 1 to 100000\n${usage}`);
  if (values.processes !== '1' && values.processes !== '2') throw new Error(`--processes must be 1 or 2\n${usage}`);
  if (target !== 'hopla' && target !== 'stock') throw new Error(`--target must be hopla or stock\n${usage}`);
  const processes = values.processes === '2' ? 2 : 1;
  // Two of them over one FileStore corrupt uploads even without a disturbance: its locks are those of one process.
  if (target === 'stock' && processes === 2) throw new Error(`--target stock runs as one process\n${usage}`);
  return { seed, minutes, photos, processes, target, json, keep };
}

/** A world of seconds: its photos are small, and everything goes by quickly. */
export function isBrief({ minutes }: Options): boolean {
  return minutes < 0.5;
}

/** The command that plays the same world again. */
export function replayOf({ seed, minutes, photos, processes, target }: Options): string {
  const more = `${processes === 1 ? '' : ` --processes ${processes}`}${target === 'hopla' ? '' : ` --target ${target}`}`;
  return `npm run chaos -- --seed ${seed} --minutes ${minutes} --photos ${photos}${more}`;
}

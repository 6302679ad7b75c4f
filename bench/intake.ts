import { jpeg } from '../test/support/images.ts';
import { type Contender, startBare, startHopla, startPlain, startStock } from './contenders.ts';
import { load } from './load.ts';
import { quantile } from './statistics.ts';
import { usageOf } from './usage.ts';

/** What one contender did with one kind of load, over all rounds. */
export type Row = {
  load: string;
  contender: string;
  imagesPerSecond: number;
  spread: number;
  p50Ms: number;
  p99Ms: number;
  cpuMsPerImage: number;
  clientShare: number;
  peakMiB: number;
};

export type IntakeOptions = { sizes: number[]; connections: number[]; rounds: number; secondsPerRound: number };

const KIB = 1024;
const CHUNK_BYTES = 512 * KIB;
/** A server that runs for days has its hot code compiled; after so many images in each form these have, too. */
const WARM_UP_IMAGES = 3_000;
const WARM_UP_BYTES = 64 * KIB;

/**
 * Images per second into each contender, taken in turns (A B C D, A B C D …), so that a noisy machine is noisy for all.
 */
export async function benchIntake(
  { sizes, connections, rounds, secondsPerRound }: IntakeOptions,
  say: (line: string) => void,
): Promise<Row[]> {
  await using started = new AsyncDisposableStack();
  const contenders: Contender[] = [];
  for (const start of [
    () => startPlain(false),
    () => startPlain(true),
    startBare,
    startStock,
    () => startHopla(0),
    () => startHopla(4),
  ]) {
    const contender = await start();
    started.defer(() => contender.close());
    contenders.push(contender);
  }
  for (const contender of contenders) {
    say(`${contender.name} warms up`);
    for (const chunkBytes of [null, WARM_UP_BYTES / 4]) {
      const target = await contender.target(WARM_UP_IMAGES, jpeg({ bytes: WARM_UP_BYTES }), chunkBytes);
      await load(target, WARM_UP_IMAGES, 8);
      await contender.settle();
    }
  }
  const rows: Row[] = [];
  for (const size of sizes) {
    for (const count of connections) {
      for (const chunkBytes of size > CHUNK_BYTES ? [null, CHUNK_BYTES] : [null]) {
        const label = `${size / KIB} KiB, ${count} conn, ${chunkBytes ? '512 KiB chunks' : 'one request'}`;
        say(label);
        const found = await compare(contenders, {
          ...{ label, size, connections: count, chunkBytes },
          ...{ rounds, secondsPerRound },
        });
        say(found.map(({ contender, imagesPerSecond }) => `${contender} ${imagesPerSecond.toFixed(0)}/s`).join(', '));
        rows.push(...found);
      }
    }
  }
  return rows;
}

type Case = {
  label: string;
  size: number;
  connections: number;
  chunkBytes: number | null;
  rounds: number;
  secondsPerRound: number;
};

async function compare(
  contenders: Contender[],
  { label, size, connections, chunkBytes, rounds, secondsPerRound }: Case,
): Promise<Row[]> {
  const body = jpeg({ bytes: size });
  const samples = contenders.map(
    () => [] as { rate: number; cpuMs: number; clientShare: number; latencies: number[] }[],
  );
  const sizes = new Map<Contender, number>();
  for (let round = -1; round < rounds; round++) {
    for (const [index, contender] of contenders.entries()) {
      // The first round finds out how many images fill the time.
      const images = round < 0 ? Math.max(4 * connections, 20) : (sizes.get(contender) ?? 20);
      const target = await contender.target(images, body, chunkBytes);
      const before = await usageOf(contender.pid);
      const run = await load(target, images, connections).catch((cause) => {
        throw new Error(`${contender.name} failed at ${label}`, { cause });
      });
      const { cpuSeconds } = await usageOf(contender.pid);
      await contender.settle();
      const rate = run.images / run.seconds;
      if (round < 0) sizes.set(contender, Math.min(5000, Math.max(images, Math.round(rate * secondsPerRound))));
      else {
        samples[index]?.push({
          rate,
          cpuMs: ((cpuSeconds - before.cpuSeconds) * 1000) / run.images,
          clientShare: run.clientCpuSeconds / run.seconds,
          latencies: run.latenciesMs,
        });
      }
    }
  }
  return Promise.all(
    contenders.map(async (contender, index) => {
      const own = samples[index] ?? [];
      const rates = own.map(({ rate }) => rate);
      const latencies = own.flatMap(({ latencies }) => latencies);
      return {
        load: label,
        contender: contender.name,
        imagesPerSecond: quantile(rates, 0.5),
        spread: (Math.max(...rates) - Math.min(...rates)) / quantile(rates, 0.5),
        p50Ms: quantile(latencies, 0.5),
        p99Ms: quantile(latencies, 0.99),
        cpuMsPerImage: quantile(
          own.map(({ cpuMs }) => cpuMs),
          0.5,
        ),
        clientShare: quantile(
          own.map(({ clientShare }) => clientShare),
          0.5,
        ),
        peakMiB: (await usageOf(contender.pid)).peakBytes / KIB ** 2,
      };
    }),
  );
}

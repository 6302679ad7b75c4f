import { setTimeout as delay } from 'node:timers/promises';
import type { Balancer } from './balancer.ts';
import type { Clients } from './client.ts';
import type { Postgres } from './database.ts';
import type { Disk } from './disk.ts';
import type { Random } from './random.ts';
import type { Service } from './service.ts';
import { storageFault } from './storage-faults.ts';
import type { Store } from './store.ts';

/** Everything that can be made to fail. */
export type Arena = {
  services: readonly Service[];
  postgres: Postgres | null;
  balancer: Balancer;
  store: Store;
  disk: Disk | null;
  clients: Clients;
  random: Random;
  /** A world of seconds: everything goes by quickly. */
  brief: boolean;
};

/** One thing that goes wrong, and is right again when `run` resolves; `run` says what it was in particular. */
export type Disturbance = {
  name: string;
  /** Two at once are always of different groups. */
  group: 'process' | 'database' | 'network' | 'storage' | 'disk';
  /** Where it makes sense; everywhere when left out. */
  where?: (arena: Arena) => boolean;
  run(arena: Arena): Promise<void>;
};

const READY_MS = 60_000;

/** Lets what goes wrong go on for a while. */
function last({ random, brief }: Arena, minMs: number, maxMs: number): Promise<void> {
  return delay(random.int(minMs, maxMs) * (brief ? 0.4 : 1));
}

async function kill(service: Service, signal: NodeJS.Signals): Promise<void> {
  service.signal(signal);
  await service.untilEnded(20_000);
}

const processes: Disturbance[] = [
  {
    name: 'kill -9 of a gateway',
    group: 'process',
    async run({ services, random }) {
      const service = random.pick(services);
      await kill(service, 'SIGKILL');
      await service.untilReady(READY_MS);
    },
  },
  {
    name: 'kill -9 of a gateway, and again while it recovers',
    group: 'process',
    async run({ services, random }) {
      const service = random.pick(services);
      await kill(service, 'SIGKILL');
      for (let times = random.int(1, 2); times > 0; times--) {
        await delay(random.int(150, 1500));
        await kill(service, 'SIGKILL');
      }
      await service.untilReady(READY_MS);
    },
  },
  {
    name: 'kill -9 of every gateway at once',
    group: 'process',
    where: ({ services }) => services.length > 1,
    async run({ services }) {
      await Promise.all(services.map((service) => kill(service, 'SIGKILL')));
      await Promise.all(services.map((service) => service.untilReady(READY_MS)));
    },
  },
  {
    name: 'kill -9 of one gateway, which stays away',
    group: 'process',
    where: ({ services, brief }) => services.length > 1 && !brief,
    async run({ services, random }) {
      const service = random.pick(services);
      service.hold(true);
      await kill(service, 'SIGKILL');
      await delay(18_000);
      service.hold(false);
      await service.untilReady(READY_MS);
    },
  },
  {
    name: 'SIGTERM of a gateway',
    group: 'process',
    async run({ services, random }) {
      const service = random.pick(services);
      await kill(service, 'SIGTERM');
      await service.untilReady(READY_MS);
    },
  },
  {
    name: 'SIGSTOP of a gateway',
    group: 'process',
    async run(arena) {
      const service = arena.random.pick(arena.services);
      service.signal('SIGSTOP');
      // Now and then longer than a job's worker may be silent (10 s), so that its transfers are given to others.
      if (arena.random.chance(0.25) && !arena.brief) await delay(17_000);
      else await last(arena, 500, 6_000);
      service.signal('SIGCONT');
    },
  },
];

const databases: Disturbance[] = [
  {
    name: 'Postgres ended at once and started again',
    group: 'database',
    where: ({ postgres }) => postgres !== null,
    async run(arena) {
      await arena.postgres?.kill('SIGQUIT');
      await last(arena, 100, 4_000);
      await arena.postgres?.start();
    },
  },
  {
    name: 'kill -9 of Postgres',
    group: 'database',
    where: ({ postgres }) => postgres !== null,
    async run(arena) {
      await arena.postgres?.kill('SIGKILL');
      await last(arena, 100, 4_000);
      await arena.postgres?.start();
    },
  },
  {
    name: 'SIGSTOP of Postgres',
    group: 'database',
    where: ({ postgres }) => postgres !== null,
    async run(arena) {
      const thaw = await arena.postgres?.freeze();
      // Now and then past every time-out of a query.
      if (arena.random.chance(0.25) && !arena.brief) await delay(14_000);
      else await last(arena, 500, 6_000);
      thaw?.();
    },
  },
  {
    name: 'connections to Postgres ended',
    group: 'database',
    where: ({ postgres }) => postgres !== null,
    async run({ postgres, random, brief }) {
      for (let times = random.int(1, brief ? 2 : 5); times > 0; times--) {
        await postgres?.disconnectAll();
        await delay(random.int(50, 800));
      }
    },
  },
  {
    name: 'Postgres out of connections',
    group: 'database',
    where: ({ postgres, brief }) => postgres !== null && !brief,
    async run(arena) {
      // Who has some loses them first.
      await arena.postgres?.disconnectAll();
      const giveBack = await arena.postgres?.exhaust();
      await last(arena, 1_000, 6_000);
      await giveBack?.();
    },
  },
];

const networks: Disturbance[] = [
  {
    name: 'connections cut, again and again',
    group: 'network',
    async run({ balancer, random, brief }) {
      for (let times = random.int(2, brief ? 5 : 15); times > 0; times--) {
        balancer.cut(random.pick([0.3, 0.6, 1]));
        await delay(random.int(20, 400));
      }
    },
  },
  {
    name: 'connections stalled',
    group: 'network',
    async run(arena) {
      const goOn = arena.balancer.stall(arena.random.pick([0.5, 1]));
      await last(arena, 1_000, 6_000);
      goOn();
    },
  },
  {
    name: 'connections half open',
    group: 'network',
    async run(arena) {
      const forget = arena.balancer.halfOpen(arena.random.pick([0.5, 1]));
      await last(arena, 2_000, 8_000);
      forget();
    },
  },
  {
    name: 'answers lost',
    group: 'network',
    async run(arena) {
      const goOn = arena.balancer.loseAnswers(arena.random.pick([0.4, 0.8]));
      await last(arena, 1_000, 5_000);
      goOn();
    },
  },
  {
    name: 'clients gone and back',
    group: 'network',
    async run(arena) {
      const comeBack = arena.clients.vanish(() => arena.random.chance(0.6));
      await last(arena, 300, 3_000);
      comeBack();
    },
  },
];

const storages: Disturbance[] = [
  {
    name: 'storage down',
    group: 'storage',
    async run(arena) {
      await arena.store.down();
      await last(arena, 1_000, 8_000);
      await arena.store.up();
    },
  },
  {
    name: 'storage misbehaves',
    group: 'storage',
    async run(arena) {
      const behave = arena.store.misbehave(storageFault(arena.random, arena.brief));
      await last(arena, 1_500, 6_000);
      behave();
    },
  },
];

const disks: Disturbance[] = [
  {
    name: 'staging disk full',
    group: 'disk',
    where: ({ disk }) => disk !== null,
    async run(arena) {
      await arena.disk?.fill();
      await last(arena, 500, 5_000);
      await arena.disk?.free();
    },
  },
];

export const disturbances: readonly Disturbance[] = [
  ...processes,
  ...databases,
  ...networks,
  ...storages,
  // Of many kinds: it comes round as often as they.
  ...storages.slice(1).flatMap((misbehaving) => [misbehaving, misbehaving]),
  ...disks,
];

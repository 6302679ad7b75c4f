import { setTimeout as delay } from 'node:timers/promises';
import { type Arena, type Disturbance, disturbances } from './disturbances.ts';
import type { Journal } from './journal.ts';

/**
 * Makes things go wrong for `ms`: in rounds of one disturbance, sometimes of two at once, with a rest in between that
 * shows how soon work goes on. Every disturbance comes round before one comes again. Resolves when all is right again.
 */
export async function unleash(
  arena: Arena,
  ms: number,
  journal: Journal,
  tell: (line: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const { random, brief } = arena;
  const deadline = performance.now() + ms;
  const possible = disturbances.filter(({ where }) => where?.(arena) ?? true);
  let bag: Disturbance[] = [];
  let count = 0;

  const draw = (beside: Disturbance | null): Disturbance => {
    if (!bag.some(({ group }) => group !== beside?.group)) bag = [...bag, ...random.shuffled(possible)];
    const index = bag.findIndex(({ group }) => group !== beside?.group);
    const [drawn] = bag.splice(index, 1);
    if (!drawn) throw new Error('there is nothing to disturb');
    return drawn;
  };

  const strike = async (disturbance: Disturbance) => {
    count += 1;
    const number = count;
    const began = performance.now();
    journal.write({ kind: 'begin', disturbance: number, name: disturbance.name });
    await disturbance.run({ ...arena, random: random.fork(`disturbance ${number}`) });
    journal.write({ kind: 'end', disturbance: number, name: disturbance.name });
    const seconds = (ms: number) => (ms / 1000).toFixed(1);
    tell(
      `${seconds(journal.now()).padStart(7)} s  ${disturbance.name} (${seconds(performance.now() - began)} s); ${arena.clients.running} photos on their way`,
    );
  };

  while (performance.now() < deadline && !signal.aborted) {
    await delay(random.int(400, 2_500) * (brief ? 0.4 : 1));
    const first = draw(null);
    const second = random.chance(0.3) ? draw(first) : null;
    await Promise.all([strike(first), ...(second ? [delay(random.int(0, 800)).then(() => strike(second))] : [])]);
  }
}

import diagnostics from 'node:diagnostics_channel';
import { readdirSync, readlinkSync } from 'node:fs';
import type { Agent, ClientRequest } from 'node:http';
import { setImmediate } from 'node:timers/promises';

/** Watches what a storage leaves behind: descriptors of a file, connections in use, timers. */
export function watchLeftovers() {
  // A storage keeps its agent to itself; its requests show it.
  const agents = new Set<Agent>();
  const onCreated = (message: unknown) => {
    const { agent } = (message as { request: ClientRequest & { agent?: Agent } }).request;
    if (agent) agents.add(agent);
  };
  diagnostics.subscribe('http.client.request.created', onCreated);
  const timersBefore = countTimers();
  const left = () => ({
    sockets: count(agents, 'sockets'),
    waiting: count(agents, 'requests'),
    timers: countTimers() - timersBefore,
  });
  return {
    /** Connections ready for the next request. */
    kept: () => count(agents, 'freeSockets'),
    /** What is left: descriptors of the file at once, lest the garbage collector closes them; else after a second at most. */
    async settled(path: string): Promise<ReturnType<typeof left> & { descriptors: number }> {
      const descriptors = descriptorsOn(path);
      const until = performance.now() + 1000;
      while (Object.values(left()).some((number) => number > 0) && performance.now() < until) await setImmediate();
      return { descriptors, ...left() };
    },
    stop: () => diagnostics.unsubscribe('http.client.request.created', onCreated),
  };
}

export const nothingLeft = { descriptors: 0, sockets: 0, waiting: 0, timers: 0 };

function count(agents: Set<Agent>, which: 'sockets' | 'requests' | 'freeSockets'): number {
  return [...agents].flatMap((agent) => Object.values(agent[which]).flat()).length;
}

const countTimers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;

function descriptorsOn(path: string): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === path;
    } catch {
      // ENOENT: the descriptor by which the directory itself was read.
      return false;
    }
  }).length;
}

import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';

/**
 * Bytes that a process really uses: its JavaScript heap and buffers, after a full garbage collection. What the system
 * counts says more about how lazy the collector is. Null when the process does not answer.
 *
 * The process must run with `--inspect-port`: SIGUSR1 then opens Node's inspector there.
 */
export async function readHeap(pid: number, inspectPort: number): Promise<number | null> {
  try {
    process.kill(pid, 'SIGUSR1');
    const socket = new WebSocket(await inspectorUrl(inspectPort));
    await once(socket, 'open');
    const ask = (id: number, method: string) => {
      const answered = once(socket, 'message');
      socket.send(JSON.stringify({ id, method }));
      return answered.then(([{ data }]) => JSON.parse(`${data}`) as { result?: Record<string, number> });
    };
    // Twice: what was freed by finalizers of the first goes with the second.
    await ask(1, 'HeapProfiler.collectGarbage');
    await ask(2, 'HeapProfiler.collectGarbage');
    const { result = {} } = await ask(3, 'Runtime.getHeapUsage');
    socket.close();
    return (result.usedSize ?? 0) + (result.backingStorageSize ?? 0);
  } catch {
    // It ended while we looked, or never answered.
    return null;
  }
}

/** The address that the inspector shows at https://nodejs.org/en/learn/getting-started/debugging#enable-inspector. */
async function inspectorUrl(port: number): Promise<string> {
  for (const deadline = performance.now() + 5_000; ; await delay(50)) {
    try {
      const targets = (await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()) as {
        webSocketDebuggerUrl: string;
      }[];
      if (targets[0]) return targets[0].webSocketDebuggerUrl;
    } catch (error) {
      // ECONNREFUSED: it takes a moment to open.
      if (performance.now() > deadline) throw error;
    }
  }
}

import { isMainThread } from 'node:worker_threads';

/**
 * Loaded ahead of every process of the world: ends it together with the one that started it, however that ends, kill -9
 * included. The input of the process is a pipe that the starter holds open.
 */
// Threads load it too, and have no such input.
if (isMainThread) {
  process.stdin.once('end', () => process.kill(process.pid, 'SIGKILL'));
  process.stdin.resume();
  // It must not keep a process that has come to its end.
  process.stdin.unref();
}

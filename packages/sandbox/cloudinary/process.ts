import { startSandboxCloudinary } from './server.ts';

// The server as a process of its own. It ends with the process that started it, however that one ends: then the channel
// between the two closes.

/** What the starter is told: where the server is, or why it is nowhere. */
export type Report = { url: string; cloudinaryUrl: string; moved: boolean } | { failure: string };
export type ProcessOptions = { directory: string; port: number; lastPort: number };

const report = (message: Report) => process.send?.(message);

try {
  const options = JSON.parse(process.argv[2] ?? '') as ProcessOptions;
  const { url, cloudinaryUrl, moved, close } = await startSandboxCloudinary({ ...options, ledgerFile: false });
  const end = async () => {
    await close();
    process.exit();
  };
  if (process.connected) process.once('disconnect', end);
  else await end();
  report({ url, cloudinaryUrl, moved });
} catch (error) {
  report({ failure: error instanceof Error ? error.message : String(error) });
  process.disconnect?.();
}

/** `node readers.ts URL TOKEN CONNECTIONS`: reads one address over and over, each connection as soon as it is answered. */
import { Agent, request } from 'node:http';

const [url = '', token = '', connections = '1'] = process.argv.slice(2);
const counts: Record<string, number> = {};
const agent = new Agent({ keepAlive: true });
const headers = { Authorization: `Bearer ${token}` };

function read(): void {
  const asked = request(url, { agent, headers }, (answer) => {
    counts[`${answer.statusCode}`] = (counts[`${answer.statusCode}`] ?? 0) + 1;
    answer.resume().once('close', read);
  });
  asked.once('error', () => process.exit(1));
  asked.end();
}

for (let n = 0; n < Number(connections); n++) read();
setInterval(() => process.stdout.write(`${JSON.stringify(counts)}\n`), 500);

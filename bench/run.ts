/** `npm run bench -- [part …] [--quick] [--json]`: hopla beside its peers and its targets; every part by default. */
import { parseArgs } from 'node:util';
import { delivery } from './delivery-report.ts';
import { growth } from './growth-report.ts';
import { intake } from './intake-report.ts';
import { memory } from './memory.ts';
import { metrics } from './metrics.ts';
import type { Part } from './part.ts';
import { readers } from './readers.ts';
import { sse } from './sse.ts';
import { start } from './start.ts';
import { whole } from './whole-report.ts';

const parts: Record<string, Part> = { intake, delivery, whole, growth, memory, metrics, readers, sse, start };

const { values, positionals } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, json: { type: 'boolean', default: false } },
  allowPositionals: true,
});
const unknown = positionals.filter((name) => !Object.hasOwn(parts, name));
if (unknown.length > 0)
  throw new Error(`There is no part ${unknown.join(', ')}; parts: ${Object.keys(parts).join(', ')}.`);

const figures: Record<string, unknown> = {};
for (const [name, part] of Object.entries(parts)) {
  if (positionals.length > 0 && !positionals.includes(name)) continue;
  const result = await part({ quick: values.quick, say: (line) => process.stderr.write(`${name}: ${line}\n`) });
  figures[name] = result.figures;
  if (!values.json) process.stdout.write(result.report);
}
if (values.json) process.stdout.write(`${JSON.stringify(figures, null, 2)}\n`);

import type pg from 'pg';
import type { Database } from '../src/database/connection.ts';

/** One node of a plan as Postgres describes it in JSON. */
type Node = {
  'Node Type': string;
  'Relation Name'?: string;
  'Index Name'?: string;
  'Plan Rows': number;
  'Actual Rows': number;
  'Actual Loops': number;
  'Shared Hit Blocks': number;
  'Shared Read Blocks': number;
  'Rows Removed by Filter'?: number;
  Plans?: Node[];
};

/** How one statement was really executed: its access paths, the pages it touched, and what is wrong with it. */
export type Plan = { statement: string; ms: number; pages: number; paths: string[]; faults: string[] };

/** No statement of a page, a place or a job may read or sort more rows than this. */
const LARGE = 2_000;

/**
 * Makes the server send the plan of every statement on this connection, with what it really took, as auto_explain(5) does:
 * so it is the plan of the statement that ran, inside whatever transaction it ran.
 */
export async function watchPlans(db: Database): Promise<{ take(): Plan[] }> {
  const plans: Plan[] = [];
  const connection = (await db.client.acquireConnection()) as pg.Client;
  connection.on('notice', ({ message = '' }) => {
    const [, ms, json] = /^duration: ([\d.]+) ms {2}plan:\s*(\{.*\})\s*$/s.exec(message) ?? [];
    if (!json) return;
    const { 'Query Text': text, Plan: root } = JSON.parse(json) as { 'Query Text': string; Plan: Node };
    plans.push({ statement: text.replace(/\s+/g, ' ').trim(), ms: Number(ms), ...describe(root) });
  });
  db.client.releaseConnection(connection);
  await db.raw("LOAD 'auto_explain'");
  const settings = {
    ...{ log_min_duration: 0, log_analyze: 'on', log_buffers: 'on', log_timing: 'off' },
    ...{ log_format: 'json', log_level: 'notice' },
  };
  for (const [name, value] of Object.entries(settings)) await db.raw(`SET auto_explain.${name} = ${value}`);
  return { take: () => plans.splice(0) };
}

function describe(root: Node): Omit<Plan, 'statement' | 'ms'> {
  const nodes = flatten(root);
  const paths = nodes
    .filter((node) => node['Relation Name'] || node['Index Name'])
    .map((node) => `${node['Node Type']} ${node['Index Name'] ?? node['Relation Name']} ${rowsOf(node)}`);
  const faults = nodes.flatMap((node) => {
    const looked = rowsOf(node) + (node['Rows Removed by Filter'] ?? 0) * node['Actual Loops'];
    const bad = looked > LARGE && /Scan|Sort/.test(node['Node Type']);
    return bad ? [`${node['Node Type']} ${node['Relation Name'] ?? node['Index Name'] ?? ''} of ${looked} rows`] : [];
  });
  return { pages: root['Shared Hit Blocks'] + root['Shared Read Blocks'], paths, faults };
}

function rowsOf(node: Node): number {
  return Math.round(node['Actual Rows'] * node['Actual Loops']);
}

function flatten(node: Node): Node[] {
  return [node, ...(node.Plans ?? []).flatMap(flatten)];
}

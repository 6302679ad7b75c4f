import { ALWAYS, answer, json, OUTAGES, problems } from './parts.ts';

const checks = { database: 'ok', staging: 'ok', storage: 'ok', queue: 'ok' };

export const runningPaths = {
  '/healthz': {
    get: {
      operationId: 'health',
      tags: ['Running'],
      summary: 'Whether the process lives',
      security: [],
      responses: { 200: answer('It does', json('Health', { status: 'ok' })), ...problems(...ALWAYS) },
    },
  },
  '/readyz': {
    get: {
      operationId: 'readiness',
      tags: ['Running'],
      summary: 'Whether all parts work',
      security: [],
      responses: {
        200: answer('They do', json('Readiness', { checks })),
        503: answer('`checks` says which do not', json('Readiness', { checks: { ...checks, database: 'failed' } })),
        ...problems(...ALWAYS),
      },
    },
  },
  '/metrics': {
    get: {
      operationId: 'metrics',
      tags: ['Running'],
      summary: 'What this process did and what waits, for Prometheus',
      description:
        'With the setting METRICS_TOKEN for who sends that as bearer token. Without, and without METRICS_PORT, for callers on the same host alone; 404 for all others.',
      security: [],
      responses: {
        200: answer('Prometheus text format', {
          content: {
            'text/plain': {
              schema: { type: 'string' },
              example: '# TYPE hopla_images_received_total counter\nhopla_images_received_total 42\n',
            },
          },
        }),
        ...problems('unauthorized', 'not-found', ...ALWAYS, ...OUTAGES),
      },
    },
  },
};

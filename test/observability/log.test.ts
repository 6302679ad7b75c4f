import { execFile } from 'node:child_process';
import { PassThrough } from 'node:stream';
import { expect } from 'chai';
import pino from 'pino';
import pretty from 'pino-pretty';
import { forTerminal, withoutSecrets } from '../../src/observability/log.ts';

describe('the log', () => {
  it('has nothing in it that opens a door, however deep it lies', () => {
    const lines: string[] = [];
    const log = pino({ hooks: { streamWrite: withoutSecrets } }, { write: (line) => lines.push(line) });
    const error = Object.assign(new Error('refused'), { config: { headers: { Authorization: 'Bearer hop_secret' } } });
    log.info({ token: 'hop_secret', id: 'kept' }, 'at the top');
    log.info({ user: { password: 'hop_secret' }, list: [{ uploadToken: 'hop_secret' }] }, 'below');
    log.error({ err: error }, 'in an error');
    log.child({ authorization: 'hop_secret' }).info('in what every line says');
    log.info({ tokenId: 'kept', note: 'the "token": one' }, 'nothing to hide');
    expect(lines).to.have.length(5);
    expect(lines.join('')).to.not.include('hop_secret');
    const [top, below, failed, child, plain] = lines.map((line) => JSON.parse(line));
    expect(top).to.include({ token: '[Redacted]', id: 'kept', msg: 'at the top' });
    expect(below).to.deep.include({ user: { password: '[Redacted]' }, list: [{ uploadToken: '[Redacted]' }] });
    expect(failed.err.config.headers).to.deep.equal({ Authorization: '[Redacted]' });
    expect(child).to.include({ authorization: '[Redacted]' });
    expect(plain).to.include({ tokenId: 'kept', note: 'the "token": one' });
  });

  it('gives no orders to the terminal that it is read on', () => {
    const sink = new PassThrough({ encoding: 'utf8' });
    const destination = pretty({ colorize: false, singleLine: true, sync: true, destination: sink });
    const log = pino({ hooks: { streamWrite: forTerminal } }, destination);
    const nasty = 'a\x1b]0;owned\x07b\x9b2Jc\u202egnp.exe\r';
    log.info({ path: nasty, err: new Error(nasty), list: [nasty] }, nasty);
    const text: string = sink.read();
    expect(text).to.include('a\\u001b]0;owned\\u0007b\\u009b2Jc\\u202egnp.exe\\u000d');
    expect(text).to.match(/^[^\p{Cc}\p{Cf}\n]*(\n[^\p{Cc}\p{Cf}\n]*)*$/u);
  });

  const endings = {
    'that exits at once': 'process.exit(0)',
    'that ends by itself': '',
    'that fails': 'throw new Error("a defect")',
    'that is killed after this turn of its event loop': 'setImmediate(() => process.kill(process.pid, "SIGKILL"))',
  };
  for (const [what, ending] of Object.entries(endings)) {
    it(`has every line of a process ${what}, in order`, async () => {
      const lines = Array.from({ length: 200 }, (_, n) => `line ${n}`);
      const program = `
        import { createLog } from ${JSON.stringify(new URL('../../src/observability/log.ts', import.meta.url))};
        const log = await createLog('info');
        for (const line of ${JSON.stringify(lines)}) log.info(line);
        ${ending}`;
      const written = await new Promise<string>((resolve) => {
        execFile(process.execPath, ['--input-type=module', '--eval', program], (_ended, stdout) => resolve(stdout));
      });
      const messages = written
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line).msg);
      expect(messages).to.deep.equal(lines);
    });
  }
});

import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { createApi, untilCompleted } from '../support/client.ts';
import { useGateway } from '../support/gateway.ts';
import { jpeg } from '../support/images.ts';

const execute = promisify(execFile);
const examples = fileURLToPath(new URL('../../examples/', import.meta.url));

describe('the examples', () => {
  const { gateway } = useGateway();
  let token: string;
  let directory: string;
  before(async () => {
    token = (await gateway.createUser()).token;
    directory = await mkdtemp(join(tmpdir(), 'hopla-examples-'));
    await writeFile(join(directory, 'photo.jpg'), jpeg({ bytes: 300_000 }));
  });
  after(async () => {
    await rm(directory, { recursive: true });
  });

  const run = async (command: string, ...args: string[]) => {
    const env = { PATH: process.env.PATH, HOPLA: gateway.url, TOKEN: token };
    return (await execute(command, args, { cwd: directory, env })).stdout.trim();
  };
  const sizeOf = async (url: string) => (await (await fetch(url)).arrayBuffer()).byteLength;

  it('upload with curl', async () => {
    expect(await sizeOf(await run('sh', join(examples, 'curl.sh'), 'photo.jpg'))).to.equal(300_000);
  });

  it('upload with hopla/client', async () => {
    expect(await sizeOf(await run(process.execPath, join(examples, 'client.mjs'), 'photo.jpg'))).to.equal(300_000);
  });

  it('upload with tus-js-client', async () => {
    const id = await run(process.execPath, join(examples, 'tus.mjs'), 'photo.jpg');
    expect((await untilCompleted(createApi(gateway.url, token), id)).images[0].filename).to.equal('photo.jpg');
  });

  it('have modules for Uppy and React that can be read', async () => {
    await run(process.execPath, '--check', join(examples, 'uppy.mjs'));
    // Node reads no JSX; Biome, which has a parser for it, ends with an error where that fails.
    const biome = fileURLToPath(new URL('../../node_modules/.bin/biome', import.meta.url));
    await execute(biome, ['lint', join(examples, 'react.jsx')], {
      cwd: fileURLToPath(new URL('../../', import.meta.url)),
    });
  });
});

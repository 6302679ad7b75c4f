import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { ConfigError, describeConfig, listSettings, readConfig } from '../src/config.ts';

/** One value of each setting that must be refused, and a word that the message must have. */
const bad: Record<string, [value: string, says: string][]> = {
  PORT: [
    ['http', 'whole number'],
    ['-1', 'whole number'],
    ['65536', 'at most 65535'],
    ['80.5', 'whole number'],
    ['0x50', 'whole number'],
  ],
  PUBLIC_URL: [
    ['uploads.example.com', 'http:// or https://'],
    ['ftp://example.com', 'http:// or https://'],
    ['https://example.com/?a=1', 'no user'],
    ['https://me:secret@example.com', 'no user'],
  ],
  TRUST_PROXY: [
    ['yes', 'true, false'],
    ['1', 'true, false'],
  ],
  ALLOWED_ORIGINS: [
    ['app.example.com', 'origins'],
    ['https://app.example.com/', 'no path'],
    ['https://app.example.com,nonsense', 'origins'],
    [',', 'at least one'],
  ],
  DATABASE_URL: [
    ['mysql://root:hunter2@localhost/x', 'postgres://'],
    ['hunter2', 'postgres://'],
  ],
  DATABASE_POOL_SIZE: [
    ['1', 'at least 2'],
    ['many', 'whole number'],
  ],
  CLOUDINARY_URL: [
    ['https://key:hunter2@cloud', 'cloudinary://'],
    ['cloudinary://hunter2', 'api_key'],
  ],
  STORAGE_URL: [
    ['ftp://key:hunter2@bucket', 'cloudinary://'],
    ['cloudinary://hunter2', 'api_key'],
  ],
  CLOUDINARY_FOLDER: [['a b', 'letters']],
  STAGING_BUDGET_BYTES: [
    ['1000', 'at least 1048576'],
    ['10GB', 'whole number'],
    ['52428799', 'at least MAX_IMAGE_BYTES, 52428800'],
  ],
  STAGING_FREE_BYTES: [['-5', 'whole number']],
  QUARANTINE_HOURS: [['8761', 'at most 8760']],
  MAX_IMAGE_BYTES: [
    ['0', 'at least 1'],
    ['99999999999999999999', 'at most'],
  ],
  MAX_IMAGE_PIXELS: [
    ['1e8', 'whole number'],
    ['2147483648', 'at most 2147483647'],
  ],
  ACCEPTED_TYPES: [
    ['png', 'has png, which is no type that hopla can recognise; those are image/jpeg, image/png,'],
    ['image/jpeg,image/svg+xml', 'has image/svg+xml'],
    ['video/*', 'image/x-adobe-dng'],
    ['image/jpg', 'image/jpeg'],
    [' , ', 'at least one'],
  ],
  UPLOAD_IDLE_SECONDS: [['0', 'at least 1']],
  UPLOAD_MIN_BYTES_PER_SECOND: [['slow', 'whole number']],
  TRANSFER_CONCURRENCY: [['257', 'at most 256']],
  TRANSFER_ATTEMPTS: [['0', 'at least 1']],
  TRANSFER_TIMEOUT_SECONDS: [['3601', 'at most 3600']],
  TRANSFER_MIN_BYTES_PER_SECOND: [['fast', 'whole number']],
  MAX_CREATIONS_PER_MINUTE: [['0', 'at least 1']],
  MAX_OPEN_TICKETS: [['0', 'at least 1']],
  MAX_IMAGES_PER_DAY: [['-1', 'whole number']],
  MAX_BYTES_IN_FLIGHT: [
    ['1GB', 'whole number'],
    ['52428799', 'at least MAX_IMAGE_BYTES, 52428800'],
  ],
  MAX_TICKET_BYTES_IN_FLIGHT: [
    ['0', 'at least 1'],
    ['52428799', 'at least MAX_IMAGE_BYTES, 52428800'],
  ],
  LOGIN_FAILURES_PER_MINUTE: [['1001', 'at most 1000']],
  SESSION_HOURS: [['0', 'at least 1']],
  ALLOW_PUBLIC_SANDBOX: [['yes', 'true, false']],
  SANDBOX_CLOUDINARY_PORT: [['65536', 'at most 65535']],
  MAX_STREAMS_PER_TOKEN: [['0', 'at least 1']],
  MAX_STREAMS_PER_USER: [['-1', 'whole number']],
  METRICS_TOKEN: [
    ['hunter2', '16 to 200 characters'],
    ['hunter2 and some blanks', 'without blanks'],
  ],
  METRICS_PORT: [
    ['65536', 'at most 65535'],
    ['8080', 'another port than PORT'],
  ],
  LOG_LEVEL: [['loud', 'fatal, error, warn, info, debug, trace, silent']],
};
/** Any text that is not empty will do for these. */
const free = ['HOST', 'DATA_DIR', 'STAGING_DIR'];
const SECRETS = ['DATABASE_URL', 'CLOUDINARY_URL', 'STORAGE_URL', 'METRICS_TOKEN'];

const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));

describe('configuration', () => {
  it('takes the address of the store by either of its two names, and not by both', () => {
    const address = 'cloudinary://1:hunter2@cloud';
    expect(readConfig({ CLOUDINARY_URL: address }).STORAGE_URL).to.equal(address);
    expect(readConfig({ STORAGE_URL: address }).STORAGE_URL).to.equal(address);
    expect(() => readConfig({ CLOUDINARY_URL: address, STORAGE_URL: address }))
      .to.throw(ConfigError, 'Set one of them')
      .with.property('message')
      .that.does.not.contain('hunter2');
  });

  it('has a bad value in this test for every setting that can have one', () => {
    expect([...Object.keys(bad), ...free].sort()).to.deep.equal(
      listSettings()
        .map(({ name }) => name)
        .sort(),
    );
  });

  for (const [name, values] of Object.entries(bad)) {
    for (const [value, says] of values) {
      it(`refuses ${name}=${value}, with its name, what it must be and an example`, () => {
        const line = problems({ [name]: value });
        expect(line).to.have.length(1);
        expect(line[0])
          .to.match(new RegExp(`^${name}=`))
          .and.include(says);
        expect(line[0]).to.include(`Example: ${name}=`);
        if (SECRETS.includes(name)) expect(line[0]).to.not.include('hunter2');
        else expect(line[0]).to.include(JSON.stringify(value));
      });
    }
  }

  it('reports all problems at once', () => {
    const all = Object.fromEntries(Object.entries(bad).map(([name, values]) => [name, values[0]?.[0]]));
    expect(problems(all).map((line) => line.split('=')[0])).to.have.members(Object.keys(bad));
  });

  it('takes every example and every default', () => {
    for (const { name, example, standard } of listSettings()) {
      expect(problems({ [name]: example }), name).to.deep.equal([]);
      expect(problems({ [name]: standard }), name).to.deep.equal([]);
    }
  });

  it('takes an empty variable as not set', () => {
    expect(readConfig({ PORT: '', DATABASE_URL: '' }))
      .to.include({ PORT: 8080 })
      .and.not.have.property('DATABASE_URL');
  });

  it('gives a user a quarter of the staging and a ticket half of that, and neither too little for two of the largest images', () => {
    const sharesOf = (settings: Record<string, string>) => {
      const config = readConfig(settings);
      return [config.MAX_BYTES_IN_FLIGHT, config.MAX_TICKET_BYTES_IN_FLIGHT];
    };
    expect(sharesOf({})).to.deep.equal([2.5 * 1024 ** 3, 1.25 * 1024 ** 3]);
    expect(sharesOf({ MAX_BYTES_IN_FLIGHT: '1000000000' })).to.deep.equal([1e9, 5e8]);
    const small = { STAGING_BUDGET_BYTES: '3000000', MAX_IMAGE_BYTES: '1000000' };
    expect(sharesOf(small)).to.deep.equal([2e6, 2e6]);
    expect(sharesOf({ ...small, MAX_IMAGE_BYTES: '3000000' })).to.deep.equal([3e6, 3e6]);
  });

  it('masks what is secret', () => {
    const described = describeConfig(
      readConfig({
        DATABASE_URL: 'postgres://hopla:hunter2@db.example.com/hopla?sslpassword=hunter2',
        CLOUDINARY_URL: 'cloudinary://12345:hunter2@cloud?upload_prefix=http://localhost:1',
      }),
    );
    expect(JSON.stringify(described)).to.not.include('hunter2');
    expect(described.find(({ name }) => name === 'DATABASE_URL')?.value).to.equal(
      'postgres://hopla:***@db.example.com/hopla?***',
    );
  });
});

describe('the hopla command', () => {
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hopla-config-'));
  });
  after(() => rm(directory, { recursive: true, force: true }));

  const hopla = async (args: string[], environment: Record<string, string> = {}) => {
    const { PATH = '' } = process.env;
    const child = promisify(execFile)(process.execPath, [main, ...args], {
      cwd: directory,
      env: { PATH, ...environment },
    });
    return child.then(
      ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
      (error: { code: number; stdout: string; stderr: string }) => error,
    );
  };

  it('shows its commands with --help', async () => {
    const { code, stdout } = await hopla(['--help']);
    expect(code).to.equal(0);
    for (const command of ['serve', 'migrate', 'config']) expect(stdout).to.include(command);
  });

  it('refuses an unknown command', async () => {
    const { code, stderr } = await hopla(['fly']);
    expect(code).to.not.equal(0);
    expect(stderr).to.match(/unknown command|too many arguments/);
  });

  it('shows the effective settings with their meaning, for people and as JSON, without secrets', async () => {
    const environment = { PORT: '1234', DATABASE_URL: 'postgres://hopla:hunter2@localhost/hopla' };
    const people = await hopla(['config'], environment);
    expect(people.stdout).to.match(/^PORT=1234 +# TCP port/m);
    const json = await hopla(['config', '--json'], environment);
    expect(JSON.parse(json.stdout)).to.include({ PORT: '1234', DATABASE_URL: 'postgres://hopla:***@localhost/hopla' });
    expect(people.stdout + json.stdout).to.not.include('hunter2');
  });

  it('does not start with bad settings: says what is wrong, and exits with 1', async () => {
    const { code, stdout, stderr } = await hopla(['serve'], {
      PORT: 'http',
      DATABASE_URL: 'hunter2',
      LOG_LEVEL: 'loud',
    });
    expect(code).to.equal(1);
    expect(stderr)
      .to.include('PORT="http" must be a whole number')
      .and.include('LOG_LEVEL')
      .and.include('DATABASE_URL');
    expect(stdout + stderr).to.not.include('hunter2');
    expect(stderr, 'no stack').to.not.match(/^\s+at /m);
  });
});

/** The problems that these settings have, a line each. */
function problems(environment: Record<string, string | undefined>): string[] {
  try {
    readConfig(environment);
    return [];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.message
      .split('\n')
      .slice(1)
      .map((line) => line.trim());
  }
}

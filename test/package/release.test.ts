import { spawnSync } from 'node:child_process';
import { expect } from 'chai';
import { root } from '../support/pages.ts';

describe('npm run release', () => {
  it('names what would be published, and publishes nothing without a tag', () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, ['tools/release.ts'], {
      cwd: root,
      encoding: 'utf8',
    });
    expect(stdout).to.match(/^hopla \d+\.\d+\.\d+$/m);
    expect(stderr).to.equal('This would be published. Say under which tag (--tag next, --tag latest), or --dry-run.\n');
    expect(status).to.equal(1);
  });
});

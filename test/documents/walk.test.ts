import { spawnSync } from 'node:child_process';
import { expect } from 'chai';
import { type Checkout, startCheckout } from '../support/checkout.ts';
import { createApi, type Json, until, untilCompleted } from '../support/client.ts';
import { jpeg } from '../support/images.ts';
import { blocksOf, matches, section } from '../support/pages.ts';

describe('the walk through the README and the page for clients', () => {
  let checkout: Checkout;
  before(async function () {
    this.timeout(90_000);
    if (spawnSync('curl', ['--version']).error) this.skip();
    checkout = await startCheckout();
    await checkout.save('photo.jpg', jpeg({ width: 640, height: 480, bytes: 1_000_000, seed: 7 }));
  });
  after(() => checkout?.close());

  // Both pages share a folder and a shell, as for a reader who follows the pages.
  const blocks = ['README.md', 'docs/clients.md'].flatMap((page) => blocksOf(section(page, 'walk')));
  for (const { heading, language, name, text, output } of blocks) {
    const [firstLine = ''] = text.split('\n');
    if (language !== 'sh') {
      it(`${heading}: has ${name}`, async () => {
        await checkout.save(name, text);
        await checkout.run(`node --check ${name}`);
      });
    } else {
      it(`${heading}: runs ${firstLine.slice(0, 60)}`, async () => {
        const printed = await checkout.run(text);
        if (output !== null) expect(matches(output, printed), printed).to.equal(true);
        // A person is slower than this test: a command in the background has begun when the next command comes.
        const [, file] = /> (\S+) &$/m.exec(text) ?? [];
        if (file)
          await until(`${file} has its first event`, async () =>
            (await checkout.run(`cat ${file}`)).includes('data: '),
          );
      }).timeout(90_000);
    }
  }

  it('ends with every ticket completed and nothing in staging', async () => {
    const api = createApi(checkout.url, checkout.token);
    const { body } = await api.call('GET', '/v1/tickets');
    const descriptions = body.items.map((ticket: Json) => ticket.description);
    expect(descriptions).to.deep.equal(['from upload-with-tus.mjs', null, 'from upload.mjs']);
    for (const { id } of body.items) await untilCompleted(api, id);
    expect(await checkout.run('ls .hopla/staging')).to.equal('');
  });
});

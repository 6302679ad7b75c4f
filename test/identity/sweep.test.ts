import { expect } from 'chai';
import { sweepTokens } from '../../src/identity/sweep.ts';
import { findCaller, issueToken } from '../../src/identity/tokens.ts';
import { useGateway } from '../support/gateway.ts';

describe('the sweep of tokens that expired', () => {
  const { gateway } = useGateway();
  let userId: string;
  let lasting: string[];
  before(async () => {
    const user = await gateway.createUser();
    userId = user.id;
    const later = await issueToken(gateway.db, { userId, expiresAt: new Date(Date.now() + 60_000) });
    lasting = [user.token, later.token];
  });

  const expired = (count: number, days: number) =>
    gateway.db.raw(
      `INSERT INTO tokens (id, user_id, kind, sha256, expires_at)
       SELECT gen_random_uuid(), ?, 'user', sha256(gen_random_uuid()::text::bytea), now() - make_interval(days => ?)
       FROM generate_series(1, ?)`,
      [userId, days, count],
    );
  const count = async () => Number((await gateway.db('tokens').where({ user_id: userId }).count()).at(0)?.count);

  it('deletes those of yesterday and before, many batches of them, by two processes at once', async () => {
    await expired(4500, 2);
    await expired(10, 0);
    await Promise.all([sweepTokens(gateway.db), sweepTokens(gateway.db)]);
    expect(await count()).to.equal(12);
    for (const token of lasting) expect(await findCaller(gateway.db, token)).not.to.equal(null);
  });

  it('stops after a bounded number of them, and takes the rest the next time', async () => {
    await expired(20_500, 2);
    await sweepTokens(gateway.db);
    expect(await count()).to.equal(512);
    await sweepTokens(gateway.db);
    expect(await count()).to.equal(12);
  });

  it('is made by the gateway, from its start', async () => {
    await expired(5, 2);
    await gateway.restart();
    expect(await count()).to.equal(12);
  });
});

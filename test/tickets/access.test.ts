import { randomUUIDv7 } from 'node:crypto';
import { expect } from 'chai';
import type { Caller } from '../../src/identity/tokens.ts';
import { createTicketAccess } from '../../src/tickets/access.ts';
import { useGateway } from '../support/gateway.ts';

describe('the ticket of an upload request', () => {
  const { gateway, api } = useGateway();

  it('costs a stranger the same questions whether somebody uploads to it, or it does not exist', async () => {
    const { id } = await api.openTicket(1);
    const { user_id } = await gateway.db('tickets').where({ id }).first();
    const callerOf = (userId: string): Caller => ({
      ...{ tokenId: randomUUIDv7(), kind: 'user', isLogin: false, ticketId: null },
      user: { id: userId, username: 'somebody', isAdmin: false },
    });
    const access = createTicketAccess(gateway.db);
    const questionsOf = async (userId: string, ticketId: string) => {
      let questions = 0;
      const count = () => {
        questions += 1;
      };
      gateway.db.on('query', count);
      const outcome = await access(callerOf(userId), ticketId).then(
        () => 'found',
        ({ code }) => code,
      );
      gateway.db.off('query', count);
      return [outcome, questions];
    };
    expect(await questionsOf(user_id, id), 'the owner, first').to.deep.equal(['found', 1]);
    expect(await questionsOf(user_id, id), 'the owner, again').to.deep.equal(['found', 0]);
    const stranger = randomUUIDv7();
    expect(await questionsOf(stranger, randomUUIDv7())).to.deep.equal(['ticket-not-found', 1]);
    expect(await questionsOf(stranger, id)).to.deep.equal(['ticket-not-found', 1]);
  });
});

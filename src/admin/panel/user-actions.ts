import type { Database } from '../../database/connection.ts';
import { User } from '../../database/models.ts';
import { HoplaError } from '../../errors.ts';
import type { Actor } from '../audit.ts';
import { setUserEnabled } from '../users.ts';
import type { Kind } from './act.ts';

export function userActions({ db }: { db: Database }): Kind {
  const turn = async (id: string, by: Actor, enabled: boolean) => {
    const { username } = await User.query(db).findById(id).throwIfNotFound();
    // Whoever locks themselves out would need the command line to come back.
    if (!enabled && id === by.userId) throw new HoplaError('invalid-request', 'You cannot disable yourself.');
    const { changed } = await setUserEnabled(db, by, username, enabled);
    return changed ? undefined : `was ${enabled ? 'enabled' : 'disabled'} already`;
  };
  return {
    name: 'users',
    singular: 'user',
    async describe(ids) {
      const users = await User.query(db).whereIn('id', ids).select('id', 'username');
      return new Map(users.map(({ id, username }) => [id, username]));
    },
    actions: {
      enable: { done: 'enabled', perform: (id, by) => turn(id, by, true) },
      disable: {
        done: 'disabled',
        question: {
          title: 'Disable users?',
          text: 'Their tokens stop working within two seconds, and so do their sessions here. What was received still goes to the storage.',
          button: 'Disable',
        },
        perform: (id, by) => turn(id, by, false),
      },
    },
  };
}

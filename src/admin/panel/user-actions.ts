import type { Database } from '../../database/connection.ts';
import { User } from '../../database/models.ts';
import type { Callers } from '../../identity/callers.ts';
import { HoplaError } from '../../model/errors.ts';
import type { Actor } from '../operations/audit.ts';
import { setUserEnabled, signUserOut } from '../operations/users.ts';
import type { Kind } from './act.ts';
import { html } from './html.ts';

export function userActions({ db, callers }: { db: Database; callers: Callers }): Kind {
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
      'sign-out': {
        done: 'signed out everywhere',
        question: {
          title: 'Sign users out everywhere?',
          text: 'Their sessions here and the tokens of all their logins end at once. Whoever knows the password can log in again.',
          button: 'Sign out everywhere',
          options: html`<label class="check"><input type="checkbox" name="issued" value="yes"> Tokens that were issued for applications and tickets end, too</label>`,
        },
        async perform(id, by, form) {
          const { username } = await User.query(db).findById(id).throwIfNotFound();
          const { ended } = await signUserOut(db, by, username, { issued: form.get('issued') === 'yes' });
          for (const tokenId of ended) callers.forget(tokenId);
          return undefined;
        },
      },
    },
  };
}

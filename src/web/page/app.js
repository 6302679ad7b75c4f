import { byId } from './dom.js';
import { startGuest } from './guest.js';
import { watchConnection } from './notice.js';
import { becomeKeeper, findVisitor } from './session.js';
import { askToSignIn } from './sign-in.js';
import { startUser } from './user.js';

watchConnection();
document.querySelector('.skip')?.addEventListener('click', (event) => {
  // Not by its address: the fragment may hold a guest's token.
  event.preventDefault();
  byId('main').focus();
});
// Another link to a ticket, opened in this tab.
window.addEventListener('hashchange', () => location.reload());

const visitor = findVisitor();
if (visitor) {
  const id = `hopla-${visitor.kind === 'guest' ? visitor.ticketId : visitor.username}`;
  const kept = { id, keeps: await becomeKeeper(id) };
  byId('workspace').hidden = false;
  if (visitor.kind === 'guest') startGuest(visitor, kept);
  else startUser(visitor, kept);
} else askToSignIn();

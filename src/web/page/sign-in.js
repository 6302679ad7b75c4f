import { login } from 'hopla/client';
import { byId } from './dom.js';
import { keepSession } from './session.js';

/** Shows the form; once somebody has signed in the page starts anew, and finds again what it had. */
export function askToSignIn() {
  byId('sign-in').hidden = false;
  const form = byId('sign-in-form', HTMLFormElement);
  const error = byId('sign-in-error');
  const button = form.querySelector('button');
  form.querySelector('input')?.focus();
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (!button || button.disabled) return;
    button.disabled = true;
    error.hidden = true;
    const data = new FormData(form);
    try {
      const session = await login({
        url: location.origin,
        username: `${data.get('username')}`,
        password: `${data.get('password')}`,
      });
      keepSession(session, data.has('remember'));
      location.reload();
    } catch (refusal) {
      error.textContent = `${/** @type {Error} */ (refusal).message}`;
      error.hidden = false;
      button.disabled = false;
      form.querySelector('input')?.focus();
    }
  });
}

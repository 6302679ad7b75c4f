import { byId, setText } from './dom.js';

/** Says something to those who use a screen reader. @param {string} text */
export function announce(text) {
  byId('announcer').textContent = text;
}

/** Shows a line above everything. @param {string} text empty: there is nothing to say */
export function notice(text) {
  const line = byId('notice');
  line.hidden = text === '';
  setText(line, text);
}

/** Says when the device is offline. */
export function watchConnection() {
  const tell = () =>
    notice(navigator.onLine ? '' : 'You are offline. Uploads wait, and go on by themselves once you are back.');
  window.addEventListener('online', tell);
  window.addEventListener('offline', tell);
  if (!navigator.onLine) tell();
}

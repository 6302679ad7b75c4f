/** Everything works without this; it saves some clicks. */

const REFRESH_MS = 10_000;

/** A box above the column that selects all rows, and how many are selected. */
for (const form of document.querySelectorAll('form[data-bulk]')) {
  const boxes = [...form.querySelectorAll('tbody .pick input')];
  const count = form.querySelector('[data-count]');
  const head = form.querySelector('thead .pick');
  const all = document.createElement('input');
  all.type = 'checkbox';
  all.setAttribute('aria-label', 'Select all of this page');
  const label = document.createElement('label');
  label.append(all);
  head.append(label);
  // The head of a table is not shown on a narrow screen.
  const again = /** @type {HTMLLabelElement} */ (label.cloneNode(true));
  again.className = 'all';
  again.append(' All of this page');
  form.querySelector('table').before(again);
  const heads = [all, again.querySelector('input')];
  const tell = () => {
    const selected = boxes.filter((box) => box.checked).length;
    count.textContent = selected === 0 ? 'With the selected:' : `With ${selected} selected:`;
    for (const box of heads) {
      box.checked = selected === boxes.length;
      box.indeterminate = selected > 0 && selected < boxes.length;
    }
  };
  for (const box of heads)
    box.addEventListener('change', () => {
      for (const other of boxes) other.checked = box.checked;
      tell();
    });
  form.addEventListener('change', tell);
  // A page that the browser goes back to has its boxes as they were.
  addEventListener('pageshow', tell);
}

/** What is shown once can be copied with one press. */
for (const input of document.querySelectorAll('input[data-copy]')) {
  input.addEventListener('focus', () => input.select());
  if (!navigator.clipboard) continue;
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = 'Copy';
  button.className = 'quiet';
  button.addEventListener('click', async () => {
    await navigator.clipboard.writeText(input.value);
    button.textContent = 'Copied';
  });
  input.closest('label').after(button);
}

/** The overview stays fresh while somebody looks at it. It says that it asks by itself, so that sessions still end. */
const live = document.querySelector('[data-live]');
if (live) {
  const refresh = async () => {
    if (document.hidden || live.contains(document.activeElement)) return;
    const response = await fetch(location.href, { headers: { 'X-Unattended': '1' }, redirect: 'manual' });
    if (response.type === 'opaqueredirect') return location.reload();
    if (!response.ok) return;
    const fresh = new DOMParser().parseFromString(await response.text(), 'text/html').querySelector('[data-live]');
    if (fresh) live.replaceChildren(...fresh.childNodes);
  };
  // A server that is away for a moment is asked again the next time.
  setInterval(() => refresh().catch(() => {}), REFRESH_MS);
}

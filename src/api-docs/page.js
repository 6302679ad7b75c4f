// The viewer has a dark look, and leaves it to the page when.
const dark = window.matchMedia('(prefers-color-scheme: dark)');
const follow = () => document.documentElement.classList.toggle('dark-mode', dark.matches);
dark.addEventListener('change', follow);
follow();
// What the viewer leaves without a name, or out of reach of the keyboard.
const viewer = document.getElementById('viewer');
new MutationObserver(() => {
  for (const select of viewer.querySelectorAll('select:not([aria-label])')) {
    const label = select.closest('label, .servers')?.textContent ? 'Server' : 'Media type';
    select.setAttribute('aria-label', select.matches('.examples-select-element') ? 'Example' : label);
  }
  for (const text of viewer.querySelectorAll('pre:not([tabindex])')) text.setAttribute('tabindex', '0');
}).observe(viewer, { childList: true, subtree: true });

// A classic script, as that of the viewer is, which runs before it.
window.SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#viewer',
  // Links inside of buttons, which screen readers cannot tell apart.
  deepLinking: false,
  // Its colours are too faint on their ground.
  syntaxHighlight: { activated: false },
  docExpansion: 'list',
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  filter: true,
  // Nothing is asked of other hosts.
  validatorUrl: null,
  // Not kept: a token in localStorage outlives the visit.
  persistAuthorization: false,
});

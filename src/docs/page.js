// The viewer has a dark look, and leaves it to the page when.
const dark = window.matchMedia('(prefers-color-scheme: dark)');
const follow = () => document.documentElement.classList.toggle('dark-mode', dark.matches);
dark.addEventListener('change', follow);
follow();
// A classic script, as that of the viewer is, which runs before it.
window.SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#viewer',
  deepLinking: true,
  docExpansion: 'list',
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  filter: true,
  // Nothing is asked of other hosts.
  validatorUrl: null,
  // Not kept: a token in localStorage outlives the visit.
  persistAuthorization: false,
});

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

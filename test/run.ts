// For wrappers that know this name: `npx mocha FILE…` does the same.
if (process.env.GREP) process.argv.push('--grep', process.env.GREP);
await import('../node_modules/mocha/bin/mocha.js' as string);

// tus-js-client for browsers comes as a script that leaves a global behind; here it is a module, for hopla/client.
// @ts-expect-error a name that only the page's import map knows
import 'tus-js-client/script';

export const { Upload, DefaultHttpStack, DetailedError } = /** @type {any} */ (globalThis).tus;

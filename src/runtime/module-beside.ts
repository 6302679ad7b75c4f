/**
 * The address of another module of the same folder, for a thread or a process that begins with it.
 * @param from `import.meta.url` of the caller: it ends in `.ts` in a checkout, and in `.js` in the built package
 * @param name the module without its extension
 */
export function moduleBeside(from: string, name: string): URL {
  return new URL(`./${name}${from.slice(from.lastIndexOf('.'))}`, from);
}

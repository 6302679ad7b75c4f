/** What the tests use of newman, which brings no types. */
declare module 'newman' {
  const newman: { run(options: object, done: (error: Error | null, summary: object) => void): void };
  // biome-ignore lint/style/noDefaultExport: as the package has it
  export default newman;
}

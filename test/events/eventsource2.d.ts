/** What the tests use of eventsource 2, which brings no types. */
declare module 'eventsource2' {
  // biome-ignore lint/style/noDefaultExport: as the package has it
  export default class EventSource extends EventTarget {
    constructor(url: string, options: { headers: Record<string, string> });
    readonly readyState: number;
  }
}

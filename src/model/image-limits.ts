/** What an image may have at most. Read anew each time: the store's plan may change while the gateway runs. */
export type ImageLimits = { readonly bytes: number; readonly pixels: number };

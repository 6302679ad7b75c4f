/**
 * How a viewer turns the stored pixels, as EXIF counts it: 1 not at all, 3 by 180°, 6 by 90° clockwise, 8 by 90° the other
 * way; 2, 4, 5 and 7 are mirrored, too. From 5 on width and height change places.
 */
export type Orientation = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8;

/**
 * What an image's own header says of it, from the first look at its bytes to the columns of its row. `width` and `height`
 * are the stored pixels, the other two what a viewer shows: cropped and turned. Null is what nobody knows: all of it where
 * every type is taken unseen, a size where the format lets a file leave it out.
 */
export type ImageFacts = {
  contentType: string | null;
  format: string | null;
  width: number | null;
  height: number | null;
  orientation: Orientation | null;
  displayWidth: number | null;
  displayHeight: number | null;
};

export const unknownFacts: ImageFacts = {
  ...{ contentType: null, format: null, width: null, height: null },
  ...{ orientation: null, displayWidth: null, displayHeight: null },
};

export function isOrientation(value: number | null): value is Orientation {
  return value !== null && Number.isInteger(value) && value >= 1 && value <= 8;
}

export const swapsSides = (orientation: Orientation | null): boolean => (orientation ?? 1) >= 5;

import type { Orientation } from '../model/image-facts.ts';

/** A picture mirrored left to right, if it is, and then turned clockwise by so many quarters. */
type Turned = { quarters: number; mirrored: boolean };

const straight: readonly Orientation[] = [1, 6, 3, 8];
const mirrored: readonly Orientation[] = [2, 7, 4, 5];

export const upright: Turned = { quarters: 0, mirrored: false };

export function turn(turned: Turned, quarters: number): Turned {
  return { ...turned, quarters: (turned.quarters + quarters) & 3 };
}

/** A mirror before a turn does the same as the opposite turn before the mirror. */
export function mirror({ quarters, mirrored: before }: Turned, axis: 'left-right' | 'top-bottom'): Turned {
  return { quarters: ((axis === 'left-right' ? 0 : 2) - quarters) & 3, mirrored: !before };
}

export const swapped = ({ quarters }: Turned): boolean => quarters % 2 === 1;

/** As EXIF counts it. */
export function orientationOf(turned: Turned): Orientation {
  return (turned.mirrored ? mirrored : straight)[turned.quarters & 3] ?? 1;
}

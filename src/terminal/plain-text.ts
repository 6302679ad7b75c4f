/**
 * What a terminal would obey instead of show: control characters, which begin escape sequences; invisible ones that turn
 * the direction of text around (CVE-2021-42574) or hide in it; lone surrogates. The joiners of emoji and Persian stay.
 */
const OBEYED = /(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** Makes text from outside harmless to print, on one line: an escape character becomes a visible `\u001b`. */
export function plain(text: string): string {
  return text.replace(OBEYED, escaped);
}

/** The same for several lines: line feeds stay. */
export function plainLines(text: string): string {
  return text.split('\n').map(plain).join('\n');
}

/** Writes text for a person. Every command writes with this, so that no text of a user or a server reaches a terminal as it is. */
export function say(stream: { write(text: string): unknown }, text: string): void {
  stream.write(plainLines(text));
}

/** JSON that is harmless to print, and still the same JSON. Its own line breaks are the only control characters left. */
export function plainJson(value: unknown): string {
  return JSON.stringify(value, null, 2).replace(OBEYED, (character) =>
    character === '\n' ? '\n' : escaped(character),
  );
}

/** In the way of JSON, `\uXXXX` for each UTF-16 unit. */
function escaped(character: string): string {
  const units = Array.from({ length: character.length }, (_, index) => character.charCodeAt(index));
  return units.map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`).join('');
}

const graphemes = new Intl.Segmenter(undefined, { granularity: 'grapheme' });
/** East Asian wide and fullwidth (https://www.unicode.org/reports/tr11/), and emoji: two columns each. */
const WIDE =
  /^(\p{Emoji_Presentation}|[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}])/u;

/** Columns that text takes in a terminal. */
export function widthOf(text: string): number {
  let width = 0;
  for (const { segment } of graphemes.segment(text)) width += columnsOf(segment);
  return width;
}

/** Shortens text to so many columns, the last an ellipsis where something is left out. */
export function shorten(text: string, columns: number): string {
  if (widthOf(text) <= columns) return text;
  let kept = '';
  let width = 1;
  for (const { segment } of graphemes.segment(text)) {
    width += columnsOf(segment);
    if (width > columns) break;
    kept += segment;
  }
  return `${kept}…`;
}

function columnsOf(grapheme: string): number {
  return WIDE.test(grapheme) ? 2 : 1;
}

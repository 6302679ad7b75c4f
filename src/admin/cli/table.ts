import { plain, shorten, widthOf } from '../../terminal/plain-text.ts';

/** A column of a table. Those that `shrink` give way where the terminal is too narrow. */
export type Column<Row> = {
  title: string;
  value: (row: Row) => string | number | null;
  align?: 'right';
  shrink?: true;
};

const GAP = '  ';
const LEAST_COLUMNS = 8;

/** Lines of an aligned table; none is longer than `columns`, unless that is null: then nothing is left out. */
export function table<Row>(rows: readonly Row[], spec: readonly Column<Row>[], columns: number | null): string {
  const cells = rows.map((row) => spec.map(({ value }) => plain(String(value(row) ?? '-'))));
  const all = [spec.map(({ title }) => title), ...cells];
  const widths = spec.map((_, index) => Math.max(...all.map((line) => widthOf(line[index] ?? ''))));
  if (columns !== null) shrink(widths, spec, columns);
  const lines = all.map((line) => line.map((cell, index) => pad(cell, widths[index] ?? 0, spec[index])).join(GAP));
  return lines.map((line) => (columns === null ? line : shorten(line, columns)).trimEnd()).join('\n');
}

/** Names and values, one a line. */
export function facts(values: readonly (readonly [string, string | number | null])[], columns: number | null): string {
  const width = Math.max(...values.map(([name]) => name.length));
  const lines = values.map(([name, value]) => `${name.padEnd(width)}${GAP}${plain(String(value ?? '-'))}`);
  return lines.map((line) => (columns === null ? line : shorten(line, columns))).join('\n');
}

/** Takes one column after the other from the widest that may shrink, until the line fits. */
function shrink(widths: number[], spec: readonly Column<never>[] | readonly Column<unknown>[], columns: number): void {
  const lineWidth = () => widths.reduce((sum, width) => sum + width, GAP.length * (widths.length - 1));
  const shrinkable = widths.keys().filter((index) => spec[index]?.shrink);
  const candidates = [...shrinkable];
  while (lineWidth() > columns) {
    const widest = candidates.reduce<number | undefined>(
      (best, index) =>
        (widths[index] ?? 0) > (best === undefined ? LEAST_COLUMNS : (widths[best] ?? 0)) ? index : best,
      undefined,
    );
    if (widest === undefined) return;
    widths[widest] = (widths[widest] ?? 0) - 1;
  }
}

function pad<Row>(cell: string, width: number, column: Column<Row> | undefined): string {
  const shown = shorten(cell, width);
  const space = ' '.repeat(width - widthOf(shown));
  return column?.align === 'right' ? space + shown : shown + space;
}

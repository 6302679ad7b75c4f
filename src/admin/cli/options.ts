import { type Command, InvalidArgumentError, Option } from 'commander';
import { z } from 'zod';

/** Turns a schema of text into what commander checks an option's value with. */
export function parsedBy<S extends z.ZodType>(schema: S): (text: string) => z.output<S> {
  return (text) => {
    const result = schema.safeParse(text);
    if (result.success) return result.data;
    throw new InvalidArgumentError(`It ${result.error.issues[0]?.message ?? 'is invalid'}.`);
  };
}

/** A whole number from `min` to `max`. */
export function whole(min: number, max: number) {
  const message = `must be a whole number from ${min} to ${max}`;
  return z
    .string()
    .regex(/^\d{1,15}$/, message)
    .transform(Number)
    .pipe(z.number().min(min, message).max(max, message));
}

const TEN_YEARS_SECONDS = 10 * 365 * 86_400;
export const seconds = whole(1, TEN_YEARS_SECONDS);

export const id = z
  .string()
  .toLowerCase()
  .pipe(z.guid({ error: 'must be a full id, such as 0197f0c6-…' }));

/** Gives a command `--json`. */
export function withJson(command: Command): Command {
  return command.option('--json', 'print JSON, for scripts');
}

/** Gives a command that asks first `--yes`. */
export function withYes(command: Command): Command {
  return command.option('-y, --yes', 'do not ask');
}

/** Gives a list `--limit` and `--cursor`. */
export function withPaging(command: Command, cursor: z.ZodType = z.string()): Command {
  return command
    .addOption(new Option('--limit <n>', 'rows of one page').argParser(parsedBy(whole(1, 1000))).default(50))
    .option('--cursor <cursor>', 'where the page begins: what the page before said', parsedBy(cursor));
}

/** How a person gets on to the next page. */
export function nextPage(nextCursor: string | null): string {
  return nextCursor === null ? '' : `\n\nmore: --cursor ${nextCursor}`;
}

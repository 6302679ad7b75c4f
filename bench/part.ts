/** What a part of the bench is told: whether to take seconds or minutes, and where to say what it is doing. */
type PartOptions = { quick: boolean; say: (line: string) => void };

/** One part of the bench: its figures for `--json`, and the same for people. */
export type Part = (options: PartOptions) => Promise<{ figures: unknown; report: string }>;

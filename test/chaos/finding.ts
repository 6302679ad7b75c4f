/** The verdict on one invariant. */
export type Finding = {
  invariant: string;
  /** One line for each violation, saying where to look. */
  violations: string[];
  /** What there was to be violated: a check that looked at nothing proves nothing. */
  measured: string;
};

export function finding(invariant: string, measured: string, violations: string[]): Finding {
  return { invariant, violations, measured };
}

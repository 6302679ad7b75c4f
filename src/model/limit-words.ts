/**
 * An amount that is over a limit, and the limit, both in millions (megapixels, MB) and to as few digits behind the point
 * as show the difference: `268` and `250`, `52.5` and `52.4`.
 */
export function inMillions(amount: number, limit: number): { amount: string; limit: string } {
  for (let digits = 0; digits < 6; digits += 1) {
    const [over, most] = [rounded(amount, digits), rounded(limit, digits)];
    if (over > most && most > 0) return { amount: `${over}`, limit: `${most}` };
  }
  return { amount: `${amount / 1e6}`, limit: `${limit / 1e6}` };
}

function rounded(value: number, digits: number): number {
  return Number((value / 1e6).toFixed(digits));
}

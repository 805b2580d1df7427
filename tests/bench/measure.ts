/** One thing measured, e.g. a command by our daemon or by OpenSSH's. */
export interface Contender {
  name: string;
  /** Does the work once and gives the measured value. */
  once(): Promise<number>;
}

export interface Row {
  what: string;
  unit: string;
  /** Median of each contender, in the order given: ours first. */
  medians: Record<string, number>;
  /** Ours divided by theirs; absent where there is nothing to compare with. */
  ratio?: number;
  /** What the ratio, or the value where there is none, should be. */
  goal?: { atMost: number } | { atLeast: number };
  met?: boolean;
}

export function median(values: number[]): number {
  return percentile(values, 50);
}

/** Nearest-rank percentile, 0 to 100. */
export function percentile(values: number[], p: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const index = Math.min(sorted.length - 1, Math.max(0, Math.ceil(sorted.length * p / 100) - 1));
  return sorted[index] ?? NaN;
}

/** Milliseconds that a piece of work takes. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/**
 * Measures contenders in turn, `rounds` times, so that what the machine does meanwhile hits all of
 * them alike; one round before that warms up and does not count.
 */
export async function compare(
  what: string,
  unit: string,
  rounds: number,
  contenders: Contender[],
  goal?: Row["goal"],
): Promise<Row> {
  const values = contenders.map(() => [] as number[]);
  for (let round = -1; round < rounds; round++) {
    for (const [i, contender] of contenders.entries()) {
      const value = await contender.once();
      if (round >= 0) values[i]!.push(value);
    }
  }
  const medians = Object.fromEntries(contenders.map((c, i) => [c.name, median(values[i]!)]));
  const [ours, theirs] = values.map(median);
  return judged({
    what,
    unit,
    medians,
    ...(theirs === undefined ? {} : { ratio: ours! / theirs }),
    ...(goal ? { goal } : {}),
  });
}

/** A row whose value stands for itself. */
export function single(what: string, unit: string, value: number, goal?: Row["goal"]): Row {
  return judged({ what, unit, medians: { ours: value }, ...(goal ? { goal } : {}) });
}

function judged(row: Row): Row {
  if (!row.goal) return row;
  const value = row.ratio ?? Object.values(row.medians)[0]!;
  const met = "atMost" in row.goal ? value <= row.goal.atMost : value >= row.goal.atLeast;
  return { ...row, met };
}

/** One line for people. */
export function formatRow(row: Row): string {
  const digits = (n: number) => n >= 100 ? n.toFixed(0) : n >= 10 ? n.toFixed(1) : n.toFixed(2);
  const values = Object.entries(row.medians).map(([k, v]) => `${k} ${digits(v)} ${row.unit}`);
  const goal = row.goal
    ? "atMost" in row.goal ? `at most ${row.goal.atMost}` : `at least ${row.goal.atLeast}`
    : "";
  const verdict = row.met === undefined ? "" : row.met ? "met" : "MISSED";
  return [
    row.what.padEnd(58),
    values.join(", ").padEnd(48),
    row.ratio === undefined ? "" : `ratio ${row.ratio.toFixed(2)}`,
    goal,
    verdict,
  ].filter(Boolean).join("  ");
}

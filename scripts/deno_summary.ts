/** Reads the closing line of `deno test`. */

export interface Counts {
  passed: number;
  failed: number;
}

/**
 * Cases passed and failed, summed over every summary line in the output
 * ("ok | 12 passed (3 steps) | 0 failed (1s)").
 */
export function countsOf(output: string): Counts {
  const counts: Counts = { passed: 0, failed: 0 };
  const summary = /^(?:ok|FAILED) \| (\d+) passed(?: \([^)]*\))? \| (\d+) failed\b/gm;
  for (const [, passed, failed] of output.matchAll(summary)) {
    counts.passed += Number(passed);
    counts.failed += Number(failed);
  }
  return counts;
}

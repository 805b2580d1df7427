/** How long the player waits between two events. */

/** Of playing, as a factor. */
export const SPEEDS = { min: 0.25, max: 16 } as const;

/**
 * The pause for a gap in the recording, both in milliseconds, before the speed.
 * @param longest pauses are cut to it, 0 cuts none; unless given, pauses are as in Teleport:
 * shorter than 10 ms none, and above 250 ms, 500 ms and 1 s exactly those
 */
export function pauseOf(gapMs: number, longest?: number): number {
  if (longest !== undefined) return longest === 0 ? gapMs : Math.min(gapMs, longest);
  if (gapMs < 10) return 0;
  if (gapMs > 1000) return 1000;
  if (gapMs > 500) return 500;
  return gapMs > 250 ? 250 : gapMs;
}

/** Twice or half as fast, within {@link SPEEDS}. */
export function changedSpeed(speed: number, change: "faster" | "slower"): number {
  const wanted = change === "faster" ? speed * 2 : speed / 2;
  return Math.min(SPEEDS.max, Math.max(SPEEDS.min, wanted));
}

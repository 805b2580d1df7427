/** A program that shows ticks, and what a recording must have of them. */
import assert from "node:assert/strict";
import { eventually } from "./run.ts";
import type { Terminal } from "./terminal.ts";

/**
 * What was shown longer than this before a kill must be in the recording, in milliseconds. The
 * promise is one second; the machine may be busy with other tests.
 */
export const MAY_BE_LOST_MS = 3_000;

/** Prints a line with the time every few milliseconds. */
export const TICKS = 'i=0; while :; do i=$((i+1)); echo "tick $i $(date +%s%3N)"; sleep 0.02; done';

export interface Tick {
  n: number;
  at: number;
}

export function ticksOf(output: string): Tick[] {
  return [...output.matchAll(/tick (\d+) (\d{13})\r/g)]
    .map(([, n, at]) => ({ n: Number(n), at: Number(at) }));
}

/** Every tick from the first to the last. */
export function assertNoGap(ticks: Tick[]): void {
  assert.ok(ticks.length > 0, "no tick was recorded");
  assert.deepEqual(ticks.map(({ n }) => n), ticks.map((_, i) => i + 1));
}

/**
 * Ends the program by Ctrl-C, pressed until it has ended: a shell passes over one that comes as a
 * command of its loop ends.
 */
export async function interrupt(terminal: Terminal): Promise<void> {
  await eventually("the end of the session", async () => {
    await terminal.press("C-c");
    await new Promise((resolve) => setTimeout(resolve, 300));
    return /ended with status/.test(await terminal.screen());
  });
}

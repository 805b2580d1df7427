/** Nothing is held for ever for somebody who takes nothing. */

/** Without progress for so long, up to twice that, it is given up. */
const stallMs = 60_000;

/**
 * Looks now and then whether a number has changed, and calls `giveUp` when it has not. Returns what
 * ends the looking. It keeps no process alive.
 */
export function watchForStall(progress: () => number, giveUp: () => void): () => void {
  let before = progress();
  const timer = setInterval(() => {
    const now = progress();
    if (now === before) {
      clearInterval(timer);
      giveUp();
    }
    before = now;
  }, stallMs);
  Deno.unrefTimer(timer);
  return () => clearInterval(timer);
}

/** Progress lines on stderr, the same for every script. */

/** Prints one line, e.g. "build: bundling tsh". */
export function say(script: string, text: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`${script}: ${text}\n`));
}

/** Milliseconds as "0.8 s" or "3 min 12 s". */
export function elapsed(ms: number): string {
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** An error whose message is all that the user should see. */
export class ScriptError extends Error {}

/** Runs `main`; a ScriptError is printed as one line, and the exit status tells. */
export async function runScript(script: string, main: () => Promise<number>): Promise<never> {
  try {
    Deno.exit(await main());
  } catch (e) {
    if (!(e instanceof ScriptError)) throw e;
    say(script, `error: ${e.message}`);
    Deno.exit(1);
  }
}

import { resolve } from "node:path";

/** The project's root, where `bin/` and `scripts/` are. */
export const root = resolve(import.meta.dirname!, "../..");

/** The path of one of the compiled binaries. */
export function bin(name: "teleport" | "tsh" | "tctl"): string {
  return `${root}/bin/${name}`;
}

export interface RunOptions {
  env?: Record<string, string>;
  /** Start from an empty environment instead of this process's. */
  clearEnv?: boolean;
  stdin?: string | Uint8Array;
  cwd?: string;
  /** Milliseconds after which the command is killed and the run fails. */
  timeoutMs?: number;
}

export interface RunResult {
  /** Exit status; 128 + n after signal n. */
  code: number;
  signal: string | null;
  stdout: string;
  stderr: string;
  bytes: Uint8Array;
}

/** Runs a command to its end. Throws when it takes longer than `timeoutMs` (60 s unless told). */
export async function run(argv: string[], options: RunOptions = {}): Promise<RunResult> {
  const timeoutMs = options.timeoutMs ?? 60_000;
  const child = new Deno.Command(argv[0]!, {
    args: argv.slice(1),
    stdin: options.stdin === undefined ? "null" : "piped",
    stdout: "piped",
    stderr: "piped",
    ...(options.env ? { env: options.env } : {}),
    ...(options.clearEnv ? { clearEnv: true } : {}),
    ...(options.cwd ? { cwd: options.cwd } : {}),
  }).spawn();
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    child.kill("SIGKILL");
  }, timeoutMs);
  const feed = (async () => {
    if (options.stdin === undefined) return;
    const writer = child.stdin.getWriter();
    const data = typeof options.stdin === "string"
      ? new TextEncoder().encode(options.stdin)
      : options.stdin;
    // A command that ends without reading its input closes the pipe: that is its right.
    await writer.write(data).then(() => writer.close()).catch(() => {});
  })();
  const output = await child.output();
  await feed;
  clearTimeout(timer);
  const result = {
    code: output.code,
    signal: output.signal,
    stdout: new TextDecoder().decode(output.stdout),
    stderr: new TextDecoder().decode(output.stderr),
    bytes: output.stdout,
  };
  if (timedOut) {
    throw new Error(
      `timed out after ${timeoutMs} ms: ${argv.join(" ")}\n${result.stdout}\n${result.stderr}`,
    );
  }
  return result;
}

/** Runs a command that must succeed; throws with its output otherwise. */
export async function must(argv: string[], options: RunOptions = {}): Promise<RunResult> {
  const result = await run(argv, options);
  if (result.code !== 0) {
    throw new Error(
      `exit status ${result.code}: ${argv.join(" ")}\n${result.stdout}\n${result.stderr}`,
    );
  }
  return result;
}

/** Waits until `probe` gives a value other than undefined or false. */
export async function eventually<T>(
  what: string,
  probe: () => T | undefined | false | Promise<T | undefined | false>,
  timeoutMs = 20_000,
): Promise<T> {
  const end = Date.now() + timeoutMs;
  let last: unknown;
  while (true) {
    try {
      const value = await probe();
      if (value !== undefined && value !== false) return value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) {
      throw new Error(`waited ${timeoutMs} ms in vain for: ${what}`, { cause: last });
    }
    await new Promise((done) => setTimeout(done, 50));
  }
}

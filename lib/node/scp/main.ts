/**
 * The far end of the old scp protocol: the hidden verb `teleport scp`, which a node runs in place
 * of the command `scp` that such a client asks for.
 */
import { ECONNRESET, EPIPE, OsError } from "../os/libc.ts";
import { umask, writeAll } from "../os/fs.ts";
import { Peer, PeerGone } from "./peer.ts";
import { receive } from "./sink.ts";
import { sendAll } from "./source.ts";

interface Arguments {
  readonly role: "sink" | "source";
  readonly recursive: boolean;
  readonly preserve: boolean;
  readonly targetIsDirectory: boolean;
  /** Indexes of the paths in the list of arguments. */
  readonly paths: number[];
}

/**
 * Serves one client on stdin and stdout until it ends; blocks the process.
 *
 * @param args what follows `scp`
 * @returns exit status
 */
export function runScp(args: readonly string[]): number {
  const parsed = parseArguments(args);
  if (typeof parsed === "string") return fail(parsed);
  const raw = rawArguments(args.length) ?? args.map((arg) => new TextEncoder().encode(arg));
  const paths = parsed.paths.map((i) => raw[i]!);
  const peer = new Peer();
  try {
    if (parsed.role === "source") sendAll(peer, paths, parsed);
    else sink(peer, paths, parsed);
    return peer.errors === 0 ? 0 : 1;
  } catch (error) {
    if (error instanceof PeerGone) return 1;
    if (error instanceof OsError && [EPIPE, ECONNRESET].includes(error.errno)) return 1;
    throw error;
  }
}

function sink(peer: Peer, paths: Uint8Array[], parsed: Arguments): void {
  const mask = umask(0);
  // Modes that are preserved must not be cut by the mask.
  if (!parsed.preserve) umask(mask);
  receive(peer, paths[0]!, { ...parsed, umask: mask });
}

/** The flags that a client's scp gives to the far end; a string says what is wrong. */
export function parseArguments(args: readonly string[]): Arguments | string {
  const flags = new Set<string>();
  let i = 0;
  for (; i < args.length; i++) {
    const arg = args[i]!;
    if (arg === "--") {
      i++;
      break;
    }
    if (!arg.startsWith("-") || arg === "-") break;
    for (const flag of arg.slice(1)) {
      if (!"tfrpdvq".includes(flag)) return `unknown flag -${flag}`;
      flags.add(flag);
    }
  }
  const paths = args.slice(i).map((_, n) => i + n);
  if (flags.has("t") === flags.has("f")) return "exactly one of -t and -f is needed";
  const role = flags.has("t") ? "sink" : "source";
  if (paths.length === 0) return "no path is given";
  if (role === "sink" && paths.length > 1) return "ambiguous target";
  return {
    role,
    recursive: flags.has("r"),
    preserve: flags.has("p"),
    targetIsDirectory: flags.has("d"),
    paths,
  };
}

function fail(message: string): number {
  writeAll(2, new Uint8Array(new TextEncoder().encode(`scp: ${message}\n`)));
  return 1;
}

/** The last arguments of this process as they were given: names need not be UTF-8. */
function rawArguments(count: number): Uint8Array[] | undefined {
  let bytes: Uint8Array;
  try {
    bytes = Deno.readFileSync("/proc/self/cmdline");
  } catch {
    return undefined;
  }
  const all: Uint8Array[] = [];
  for (let start = 0; start < bytes.length;) {
    const end = bytes.indexOf(0, start);
    all.push(bytes.subarray(start, end < 0 ? bytes.length : end));
    start = end < 0 ? bytes.length : end + 1;
  }
  return all.length >= count && count > 0 ? all.slice(-count) : undefined;
}

/** One shell or command on a node, with the streams and the terminal of this process. */
import type { Readable, Writable } from "node:stream";
import type { Buffer } from "node:buffer";
import type {
  ClientChannel,
  ExitStatus,
  SessionOptions as ChannelOptions,
  SshClient,
} from "../ssh/client.ts";
import { EscapeFilter, escapeHelp, type Typed } from "./escapes.ts";

export interface WindowSize {
  cols: number;
  rows: number;
}

/** The terminal in front of the user. */
export interface SessionTerminal {
  /** TERM. */
  name: string;
  size(): WindowSize;
  /** Keys go through unchanged until disposed. */
  raw(): Disposable;
  /** Stops this process until the person lets it go on. Resolves then, in raw mode again. */
  suspend?(): Promise<void>;
  onResize(listener: () => void): Disposable;
}

export interface SessionStreams {
  /** undefined: the remote command sees the end of input at once. */
  stdin: Readable | undefined;
  stdout: Writable;
  stderr: Writable;
}

export interface SessionOptions
  extends SessionStreams, Pick<ChannelOptions, "env" | "agentForwarding" | "x11"> {
  /** A shell unless given. */
  command?: string;
  /** The remote side gets a PTY when given. */
  terminal?: SessionTerminal;
  /** `~.` and others after a line feed do something here, as in ssh. Only with a terminal. */
  escapes?: boolean;
  /** What `~#` shows, a line each. */
  listForwarded?: () => readonly string[];
  /** Told before anything else when the node will not forward what it was offered. */
  onRefused?: (what: "agent" | "x11") => void;
}

/**
 * How a session ended; `outputClosed` when nobody reads its output here any more, `disconnected`
 * when the person wanted it by an escape.
 */
export type SessionEnd = ExitStatus | { outputClosed: true } | { disconnected: true };

/** Runs it to its end. @throws what the node refuses it with */
export async function runSession(client: SshClient, options: SessionOptions): Promise<SessionEnd> {
  const { command, terminal, env, agentForwarding, x11 } = options;
  const pty = terminal && { term: terminal.name, ...sizeOf(terminal), modes: new Map() };
  const session = {
    ...(pty ? { pty } : {}),
    ...(env ? { env } : {}),
    ...(agentForwarding ? { agentForwarding } : {}),
    ...(x11 ? { x11 } : {}),
  };
  const channel = command === undefined
    ? await client.shell(session)
    : await client.exec(command, session);
  for (const what of channel.refused) options.onRefused?.(what);
  if (!terminal) return await pump(channel, options);
  using _raw = terminal.raw();
  using _resize = terminal.onResize(() => channel.resize(sizeOf(terminal)));
  return await pump(channel, options);
}

/** Moves the bytes of all three streams until the remote side has ended. */
async function pump(channel: ClientChannel, options: SessionOptions): Promise<SessionEnd> {
  const { stdin, stdout, stderr } = options;
  const early = Promise.withResolvers<SessionEnd>();
  const unlink = stdin
    ? sendInput(channel, stdin, options, () => early.resolve({ disconnected: true }))
    : (channel.stream.end(), () => {});
  const outputs = Promise.all([
    // As a local program dies of SIGPIPE: `tsh ssh node yes | head` has to end.
    drain(channel.stream, stdout, () => early.resolve({ outputClosed: true })),
    drain(channel.stderr, stderr, () => {}),
  ]);
  const ended = await Promise.race([
    Promise.all([channel.exited, outputs]).then(([status]) => status),
    early.promise,
  ]);
  unlink();
  channel.close();
  return ended;
}

/** Returns what stops it. */
function sendInput(
  channel: ClientChannel,
  stdin: Readable,
  options: SessionOptions,
  onDisconnect: () => void,
): () => void {
  const filter = options.terminal && options.escapes ? new EscapeFilter() : undefined;
  const { stream } = channel;
  const take = (typed: Typed) => {
    if ("data" in typed) {
      if (!stream.write(typed.data)) stdin.pause();
    } else if (typed.escape === "disconnect") {
      onDisconnect();
    } else if (typed.escape === "suspend") {
      void suspend(channel, options);
    } else {
      const lines = typed.escape === "help" ? escapeHelp : describeForwarded(options);
      options.stderr.write(`\r\n${lines}`);
    }
  };
  const onData = (chunk: Buffer) => {
    if (filter) filter.push(chunk).forEach(take);
    else take({ data: chunk });
  };
  const onDrain = () => stdin.resume();
  const onEnd = () => stream.end();
  stdin.on("data", onData).on("end", onEnd).on("error", onEnd);
  stream.on("drain", onDrain).on("error", () => {});
  return () => {
    stdin.off("data", onData).off("end", onEnd);
    stream.off("drain", onDrain);
    stdin.pause();
  };
}

/** The window may have another size when the person comes back. */
async function suspend(
  channel: ClientChannel,
  { terminal, stderr }: SessionOptions,
): Promise<void> {
  if (!terminal?.suspend) return;
  await new Promise<void>((resolve) => stderr.write("~^Z [suspend tsh]\r\n", () => resolve()));
  await terminal.suspend();
  channel.resize(sizeOf(terminal));
}

function describeForwarded({ listForwarded }: SessionOptions): string {
  const lines = listForwarded?.() ?? [];
  if (lines.length === 0) return "Nothing is forwarded.\r\n";
  return lines.map((line) => `${line}\r\n`).join("");
}

/**
 * Writes everything that arrives; resolves when the last byte is written, or when the writer is
 * gone (then the rest is read and dropped, so that the command is not stuck).
 */
function drain(from: Readable, to: Writable, onGone: () => void): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let gone = false;
  const onError = () => {
    gone = true;
    from.resume();
    onGone();
  };
  const onDrain = () => from.resume();
  const finish = () => {
    from.off("data", onData);
    const settle = () => {
      to.off("drain", onDrain).off("error", onError);
      resolve();
    };
    // An empty write comes back when all before it are done.
    if (gone || to.destroyed) settle();
    else to.write(new Uint8Array(0), settle);
  };
  const onData = (chunk: Buffer) => {
    if (!gone && !to.write(chunk)) from.pause();
  };
  to.on("drain", onDrain).on("error", onError);
  from.on("data", onData).on("error", () => {});
  let finished = false;
  const once = () => {
    if (finished) return;
    finished = true;
    finish();
  };
  from.once("end", once).once("close", once);
  return promise;
}

function sizeOf(terminal: SessionTerminal) {
  return { ...terminal.size(), widthPx: 0, heightPx: 0 };
}

/** The status that a remote end gives to this process, by ssh's and the shell's rules. */
export function statusOf(exit: SessionEnd): number {
  if ("code" in exit) return exit.code;
  if ("outputClosed" in exit) return 128 + (signalNumbers.PIPE ?? 0);
  return "signal" in exit ? 128 + (signalNumbers[exit.signal] ?? 0) : 255;
}

/** RFC 4254, 6.10, with the numbers that they have on Linux. */
const signalNumbers: Record<string, number> = {
  HUP: 1,
  INT: 2,
  QUIT: 3,
  ILL: 4,
  TRAP: 5,
  ABRT: 6,
  BUS: 7,
  FPE: 8,
  KILL: 9,
  USR1: 10,
  SEGV: 11,
  USR2: 12,
  PIPE: 13,
  ALRM: 14,
  TERM: 15,
};

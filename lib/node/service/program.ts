/** A program of a session, with a terminal, or wired to the client's channel. */
import type { Readable, Writable } from "node:stream";
import type { PtyRequest, ServerChannel } from "../../ssh/server.ts";
import type { ChildExit } from "../os/child.ts";
import type { Launch } from "../process/launch.ts";
import { type OsUser, ttyGroup } from "../process/os_user.ts";
import { PipedProcess } from "../process/piped_process.ts";
import { DEFAULT_SIZE, Pty, type TerminalSize } from "../pty/pty.ts";

export interface RunningProgram {
  /** How it ended; its outputs have been passed on by then, or the channel is gone. */
  readonly ended: Promise<ChildExit>;
  /** Without "SIG". */
  signal(name: string): void;
  /** Ends every process of the session. */
  close(): Promise<void>;
}

/** A program on a terminal. */
export interface RunningTerminal extends RunningProgram {
  /** What the programs write. To be read to its end. */
  readonly output: Readable;
  /** What is typed. */
  readonly input: Writable;
  resize(size: TerminalSize): void;
}

/** A terminal that is open, and the way to start a program on it. */
export interface OpenTerminal {
  /** Path, e.g. "/dev/pts/3". */
  readonly path: string;
  /** @throws OsError when the program cannot be started */
  start(launch: Launch): RunningTerminal;
  close(): void;
}

/** @throws OsError when the system has no terminals left */
export async function openTerminal(user: OsUser, request: PtyRequest): Promise<OpenTerminal> {
  const gid = await ttyGroup() ?? user.gid;
  const pty = Pty.open({
    size: request.cols > 0 && request.rows > 0 ? request : DEFAULT_SIZE,
    modes: request.modes,
    // Only root can give a terminal away; anybody else opens it as who it is for.
    ...(Deno.uid() === 0 ? { owner: { uid: user.uid, gid } } : {}),
  });
  return {
    path: pty.path,
    close: () => pty.close(),
    start(launch) {
      const child = pty.start(launch);
      return {
        output: pty.output,
        input: pty.input,
        ended: outcome(child.exited, [pty.output]),
        signal: (name) => child.signal(name),
        resize: (size) => pty.resize(size),
        close: async () => {
          pty.close();
          await child.end();
        },
      };
    },
  };
}

/** @param onStderr takes the program's stderr instead of the client */
export function runPiped(
  launch: Launch,
  { stream, stderr }: ServerChannel,
  onStderr?: (output: Readable) => void,
): RunningProgram {
  const process = PipedProcess.start(launch);
  stream.pipe(process.stdin);
  process.stdout.pipe(stream, { end: false });
  if (onStderr) onStderr(process.stderr);
  else process.stderr.pipe(stderr, { end: false });
  return {
    ended: outcome(process.exited, [process.stdout, process.stderr]),
    signal: (name) => process.child.signal(name),
    close: () => process.close(),
  };
}

/** As with sshd, what the program has left in the background may still write. */
async function outcome(exited: Promise<ChildExit>, outputs: Readable[]): Promise<ChildExit> {
  await Promise.all(
    outputs.map((output) =>
      output.destroyed || output.readableEnded ? undefined : new Promise((resolve) => {
        output.once("end", resolve);
        output.once("close", resolve);
      })
    ),
  );
  return await exited;
}

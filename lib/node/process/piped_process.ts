/** A program without a terminal: three pipes, and a session of its own. */
import { Child, type ChildExit } from "../os/child.ts";
import { FdReadable, FdWritable } from "../os/fd_stream.ts";
import { check, closeFd, libc, O_NONBLOCK } from "../os/libc.ts";
import { pipe } from "../os/spawn.ts";
import type { Launch } from "./launch.ts";

const F_SETFL = 4;

export class PipedProcess {
  readonly stdin: FdWritable;
  readonly stdout: FdReadable;
  readonly stderr: FdReadable;
  readonly child: Child;

  /** @throws OsError when the program cannot be started */
  static start(launch: Launch): PipedProcess {
    const opened: number[] = [];
    const open = (ours: 0 | 1): [number, number] => {
      const ends = pipe();
      opened.push(...ends);
      // Only our end: the program expects one that blocks.
      check(libc().fcntl(ends[ours], F_SETFL, BigInt(O_NONBLOCK)), "fcntl");
      return ends;
    };
    try {
      const [stdin, toStdin] = open(1);
      const [fromStdout, stdout] = open(0);
      const [fromStderr, stderr] = open(0);
      const child = Child.start({ ...launch, stdio: { fds: [stdin, stdout, stderr] } });
      closeFd(stdin, stdout, stderr);
      return new PipedProcess(child, toStdin, fromStdout, fromStderr);
    } catch (error) {
      closeFd(...opened);
      throw error;
    }
  }

  private constructor(child: Child, stdin: number, stdout: number, stderr: number) {
    this.child = child;
    this.stdin = new FdWritable(stdin);
    this.stdout = new FdReadable(stdout);
    this.stderr = new FdReadable(stderr);
  }

  /** How the program has ended; others may still hold its pipes. */
  get exited(): Promise<ChildExit> {
    return this.child.exited;
  }

  /** Lets go of the pipes and ends every process of the session. */
  async close(): Promise<void> {
    this.stdin.destroy();
    this.stdout.destroy();
    this.stderr.destroy();
    await this.child.end();
  }
}

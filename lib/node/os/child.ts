/** A started session leader: its end with the exact status, and the end of all that it left. */
import { closeFd, EINTR, errno, libc, OsError } from "./libc.ts";
import { EPOLLIN, poller } from "./poller.ts";
import { endSession } from "./session_end.ts";
import { resetFileLimit, spawn, type SpawnRequest } from "./spawn.ts";

export type ChildExit =
  | { readonly code: number }
  /** Name without SIG, e.g. "KILL". */
  | { readonly signal: string; readonly core: boolean };

export class Child {
  readonly pid: number;
  /** Resolves when the leader itself has ended; others of its session may go on. */
  readonly exited: Promise<ChildExit>;
  #reaped = false;
  #ending: Promise<void> | undefined;

  /** @throws OsError when the program cannot be started */
  static start(request: SpawnRequest): Child {
    const { pid, pidfd } = spawn(request);
    return new Child(pid, pidfd);
  }

  private constructor(pid: number, pidfd: number) {
    this.pid = pid;
    resetFileLimit(pid);
    this.exited = new Promise((resolve, reject) => {
      const watch = poller.watch(pidfd, () => {
        watch.remove();
        closeFd(pidfd);
        try {
          resolve(peekExit(pid));
        } catch (error) {
          reject(error);
        }
      });
      watch.arm(EPOLLIN);
    });
  }

  /** Sends a signal, by its name without SIG, to the leader's process group. */
  signal(name: string): void {
    const number = signalNumber(name);
    if (number !== undefined && !this.#reaped) libc().kill(-this.pid, number);
  }

  /**
   * Ends every process of the session, the leader too, and takes the leader off the process
   * table. Until then its number cannot become another's, so no signal can hit a stranger.
   */
  end(): Promise<void> {
    return this.#ending ??= this.#end();
  }

  async #end(): Promise<void> {
    await endSession(this.pid);
    await this.exited;
    libc().waitpid(this.pid, new Uint8Array(4), 0);
    this.#reaped = true;
  }
}

const P_PID = 1;
const WEXITED = 4;
const WNOWAIT = 0x0100_0000;
const SIGINFO_SIZE = 128;
const CLD_EXITED = 1;
const CLD_DUMPED = 3;

/** How a process has ended, leaving it a zombie. */
function peekExit(pid: number): ChildExit {
  const info = new DataView(new ArrayBuffer(SIGINFO_SIZE));
  const bytes = new Uint8Array(info.buffer);
  while (libc().waitid(P_PID, pid, bytes, WEXITED | WNOWAIT) === -1) {
    const reason = errno();
    if (reason !== EINTR) throw new OsError("waitid", reason);
  }
  const how = info.getInt32(8, true);
  const status = info.getInt32(24, true);
  if (how === CLD_EXITED) return { code: status };
  return { signal: signalName(status), core: how === CLD_DUMPED };
}

/** Signals by number on Linux, x86-64 and arm64; 1 is HUP. */
const names = (
  "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP " +
  "TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS"
).split(" ");
const signalNumbers: ReadonlyMap<string, number> = new Map(names.map((n, i) => [n, i + 1]));

function signalName(number: number): string {
  // Real-time signals have no name in RFC 4254, section 6.10; it leaves room for names@domain.
  return names[number - 1] ?? `RT${number}@teleport`;
}

/** The number of a signal by its name without SIG. */
export function signalNumber(name: string): number | undefined {
  return signalNumbers.get(name);
}

/**
 * The sockets at which sessions find their user's agent. Each lies in a directory of its own that
 * only the daemon can change, so that nobody can put another socket in its place, and belongs to
 * the OS user, so that nobody else (but root) can connect. It is not there before it is safe, and
 * not after its session.
 */
import { InternalError } from "../../base/errors.ts";
import { randomHex } from "../../base/ids.ts";
import { log } from "../../base/log.ts";
import { acceptAll } from "../../ssh/accept.ts";
import type { ConnStream } from "../../ssh/stream.ts";
import type { OsUser } from "../process/os_user.ts";

const PRIVATE = 0o700;
/** Where the sockets are other users', they must be able to pass; but not to see what is there. */
const PASSABLE = Deno.uid() === 0 ? 0o711 : PRIVATE;
const WRITABLE_BY_OTHERS = 0o022;
const DIRECTORY = /^[0-9a-f]{16}$/;
const SOCKET = "agent.sock";

export interface AgentSocket {
  /** For SSH_AUTH_SOCK. */
  readonly path: string;
  /** Removes it. Connections that were made go on. */
  close(): void;
}

export class AgentSockets {
  readonly #base: readonly string[];

  /**
   * @param base the directories above the sockets', each in the one before; made when needed. All
   *   are to be this host's alone from the last on.
   */
  constructor(base: readonly string[]) {
    this.#base = base;
  }

  /** Root's data directory is no other account's to pass through; another daemon's is its own. */
  static of(hostId: string, dataDir: string): AgentSockets {
    return new AgentSockets(
      Deno.uid() === 0 ? ["/run/teleport", `/run/teleport/${hostId}`] : [`${dataDir}/agents`],
    );
  }

  /**
   * Listens for the programs of a session.
   *
   * @param onConnection owns the stream
   * @throws InternalError when somebody else could change the directory; Deno.errors.*
   */
  open(user: OsUser, onConnection: (stream: ConnStream) => void): AgentSocket {
    const directory = `${this.#prepare()}/${randomHex(8)}`;
    Deno.mkdirSync(directory, { mode: PRIVATE });
    let listener: Deno.UnixListener | undefined;
    const close = () => {
      listener?.close();
      listener = undefined;
      removeQuietly(directory);
      this.#removeBaseIfEmpty();
    };
    try {
      const path = `${directory}/${SOCKET}`;
      listener = Deno.listen({ transport: "unix", path });
      Deno.chmodSync(path, 0o600);
      if (Deno.uid() === 0) Deno.chownSync(path, user.uid, user.gid);
      // Last: until now nobody could reach the socket.
      Deno.chmodSync(directory, PASSABLE);
      acceptAll(listener, (stream) => {
        stream.on("error", () => {}); // told by "close"
        onConnection(stream);
      });
      return { path, close };
    } catch (error) {
      close();
      throw error;
    }
  }

  /** Removes what a daemon that was killed has left: sockets at which nobody listens. */
  clean(): void {
    const base = this.#base.at(-1)!;
    try {
      const bound = boundSockets();
      for (const { name, isDirectory } of Deno.readDirSync(base)) {
        const directory = `${base}/${name}`;
        if (!isDirectory || !DIRECTORY.test(name) || bound.has(`${directory}/${SOCKET}`)) continue;
        removeQuietly(directory);
      }
      this.#removeBaseIfEmpty();
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) {
        log("node").warn("Old agent sockets were not removed", { directory: base, error });
      }
    }
  }

  /** A host that comes no more leaves nothing. */
  #removeBaseIfEmpty(): void {
    try {
      Deno.removeSync(this.#base.at(-1)!);
    } catch {
      // There are others in it, or it is gone.
    }
  }

  #prepare(): string {
    for (const directory of this.#base) {
      try {
        Deno.mkdirSync(directory, { mode: PASSABLE });
        // The umask may have taken away what makes it passable.
        Deno.chmodSync(directory, PASSABLE);
      } catch (error) {
        if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
      }
      const { isDirectory, uid, mode } = Deno.lstatSync(directory);
      if (!isDirectory || uid !== Deno.uid() || ((mode ?? 0) & WRITABLE_BY_OTHERS) !== 0) {
        throw new InternalError(
          `others may change ${directory}, so it is no place for agent sockets: remove it`,
        );
      }
    }
    return this.#base.at(-1)!;
  }
}

/** Paths of all Unix sockets that a process has bound. */
function boundSockets(): Set<string> {
  const lines = Deno.readTextFileSync("/proc/net/unix").split("\n");
  return new Set(lines.map((line) => line.slice(line.indexOf("/"))));
}

function removeQuietly(directory: string): void {
  try {
    Deno.removeSync(directory, { recursive: true });
  } catch (error) {
    log("node").warn("An agent socket was not removed", { directory, error });
  }
}

/** What is run in a session: what the client has asked for, or what its certificate forces. */
import { parseScpCommand, type ScpCommand } from "../../host/scp_command.ts";
import type { SessionAudit } from "../../host/session_audit.ts";
import type { SessionStart } from "../../ssh/server.ts";
import type { ChildExit } from "../os/child.ts";
import type { Program } from "../process/launch.ts";
import { ownScp } from "./scp_command.ts";

/** The hidden verb of `teleport` that serves SFTP. */
const SFTP_SERVER = "sftp-server";
/** In the list of active sessions, in characters. */
const MAX_SHOWN = 1000;

export class SessionProgram {
  readonly #start: SessionStart;
  /** What the client had asked for, where something else is forced. */
  readonly original: string | undefined;
  /** A copy by scp's old protocol; never of a forced command, which is what it says it is. */
  readonly #scp: ScpCommand | undefined;

  /** @param forced the certificate's force-command */
  constructor(start: SessionStart, forced: string | undefined) {
    this.#start = forced === undefined ? start : { kind: "exec", command: forced };
    this.original = forced === undefined ? undefined : textOf(start);
    if (start.kind === "exec" && forced === undefined) this.#scp = parseScpCommand(start.command);
  }

  get kind(): SessionStart["kind"] {
    return this.#start.kind;
  }

  /** For the list of active sessions; nothing for a shell. */
  get shown(): { command?: string } {
    const text = textOf(this.#start);
    return text === undefined ? {} : { command: text.slice(0, MAX_SHOWN) };
  }

  /** @param teleportCommand command line of this program, up to its verb */
  launchedBy(teleportCommand: readonly string[]): Program {
    const start = this.#start;
    const [path, ...before] = teleportCommand;
    switch (start.kind) {
      case "shell":
        return { kind: "shell" };
      case "exec":
        return {
          kind: "command",
          command: this.#scp ? ownScp(teleportCommand, this.#scp) : start.command,
        };
      case "subsystem":
        return { kind: "argv", argv: [path!, ...before, SFTP_SERVER] };
    }
  }

  /** @param end how it has ended, or why without a status */
  report(audit: SessionAudit, end: ChildExit | { error: string }): void {
    const outcome = "signal" in end ? { error: `ended by signal ${end.signal}` } : end;
    const start = this.#start;
    if (start.kind === "subsystem") audit.subsystem(start.name, outcome);
    else if (start.kind === "exec" && this.#scp) {
      const { path, action } = this.#scp;
      audit.copied({ command: start.command, path, action }, outcome);
    } else if (start.kind === "exec") audit.executed(start.command, outcome);
  }
}

function textOf(start: SessionStart): string | undefined {
  switch (start.kind) {
    case "shell":
      return undefined;
    case "exec":
      return start.command;
    case "subsystem":
      return start.name;
  }
}

/** What a session did, and how it went, in the words of the audit log. */
import { parseScpCommand } from "../../host/scp_command.ts";
import type { Outcome, SessionAudit } from "../../host/session_audit.ts";
import type { ExitStatus } from "../../ssh/client.ts";
import type { SessionStart } from "../../ssh/server.ts";

/** Of a command in the list of active sessions, in characters. */
const MAX_SHOWN_COMMAND = 1000;

export const NOT_STARTED: Outcome = { error: "it could not be started" };

export function outcomeOf(status: ExitStatus): Outcome {
  if ("code" in status) return status;
  return {
    error: "signal" in status ? `ended by signal ${status.signal}` : "the connection was lost",
  };
}

/** As the list of active sessions shows it; undefined for a shell. */
export function commandOf(start: SessionStart): string | undefined {
  const text = start.kind === "exec"
    ? start.command
    : start.kind === "subsystem"
    ? start.name
    : undefined;
  return text?.slice(0, MAX_SHOWN_COMMAND);
}

/** @param forced the only command that the certificate is for: it has run, whatever was asked */
export function reportDone(
  audit: SessionAudit,
  start: SessionStart,
  forced: string | undefined,
  outcome: Outcome,
): void {
  if (forced !== undefined) return audit.executed(forced, outcome);
  if (start.kind === "subsystem") return audit.subsystem(start.name, outcome);
  if (start.kind === "shell") return;
  const { command } = start;
  const scp = parseScpCommand(command);
  if (scp) audit.copied({ command, path: scp.path, action: scp.action }, outcome);
  else audit.executed(command, outcome);
}

/** Sessions that run now as the rows of a table, for people. */
import type { ActiveSession } from "../api/types.ts";
import { formatDuration } from "../base/duration.ts";

export const SESSION_TITLES = ["Session ID", "User", "Login", "Node", "Runs", "For", "People"];

const MAX_COMMAND = 40;

/** @param nowMs since 1970, what "For" is counted to */
export function sessionRow(session: ActiveSession, nowMs: number): string[] {
  const { sid, user, login, server_hostname, target_hostname, started } = session;
  const seconds = Math.max(0, Math.floor((nowMs - Date.parse(started)) / 1000));
  return [
    ...[sid, user, login, target_hostname ?? server_hostname, whatRuns(session)],
    formatDuration(seconds * 1000),
    peopleIn(session),
  ];
}

function whatRuns({ command, interactive, cols, rows }: ActiveSession): string {
  const what = command === undefined
    ? "shell"
    : command.length > MAX_COMMAND
    ? `${command.slice(0, MAX_COMMAND)}…`
    : command;
  return interactive ? `${what} (${cols}×${rows})` : what;
}

/** The owner by name, others with how they are in it. */
function peopleIn({ user: owner, parties }: ActiveSession): string {
  if (parties.length === 0) return "nobody";
  return parties.map(({ user, mode }) => user === owner ? user : `${user} (${mode})`).join(", ");
}

/** Audit events as lines for people. */
import type { StoredEvent } from "../../lib/audit/events.ts";

export const EVENT_TITLES = ["Time (UTC)", "Code", "Event", "User", "What"];

/** Cells of a table; not made safe for a terminal, which table() does. */
export function eventRow(event: StoredEvent): string[] {
  const fields = event as unknown as Record<string, unknown>;
  const time = event.time.replace("T", " ").replace(/(\.\d+)?Z$/, "");
  return [time, event.code, event.event, textOf(fields.user), whatOf(event, fields)];
}

function whatOf(event: StoredEvent, fields: Record<string, unknown>): string {
  const parts = [placeOf(fields), detailOf(event, fields)].filter((part) => part !== "");
  const problem = [fields.error, fields.exitError].map(textOf).find((text) => text !== "");
  if (problem !== undefined) parts.push(`failed: ${problem}`);
  return parts.join(" ").replaceAll("\n", " ");
}

/** "root@db-1". Where a session leads comes before the proxy that reports it. */
function placeOf(fields: Record<string, unknown>): string {
  const { login, target_hostname, server_hostname, reported_hostname, server_id } = fields;
  const host = [target_hostname, server_hostname, reported_hostname, server_id].map(textOf)
    .find((text) => text !== "") ?? "";
  const who = textOf(login);
  return who === "" ? host : host === "" ? who : `${who}@${host}`;
}

function detailOf(event: StoredEvent, fields: Record<string, unknown>): string {
  switch (event.event) {
    case "exec":
      return event.command;
    case "scp":
      return `${event.action} ${event.path}`;
    case "sftp":
      return [event.action, event.path, event.target_path ?? ""].join(" ").trim();
    case "port":
      return `${event.direction === "remote" ? "listens at" : "to"} ${event.addr}`;
    case "subsystem":
      return event.name;
    case "user.login":
      return [event.method, textOf(fields["addr.remote"])].filter((t) => t !== "").join(" from ");
    case "session.start":
      return [event.size?.replace(":", "×") ?? "", event.sid].join(" ").trim();
    case "session.data":
      return `${event.rx} bytes in, ${event.tx} out`;
    case "session.end":
      return event.participants.length > 1
        ? `${event.sid} with ${event.participants.join(", ")}`
        : event.sid;
    case "resize":
      return event.size.replace(":", "×");
    case "session.upload":
      return event.url;
    case "session.rejected":
    case "client.disconnect":
      return event.reason;
    case "audit.gap":
      return `events ${event.first_missing} to ${event.last_missing} of its ${event.service} ` +
        "are missing";
    default:
      return [fields.name, fields.sid].map(textOf).find((text) => text !== "") ?? "";
  }
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

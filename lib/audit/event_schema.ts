/**
 * What a host may say in an event. Text that people or programs chose is cut, not refused: a long
 * command must not be a way to keep it out of the log. Unknown fields are dropped.
 */
import { z } from "zod";
import type { AuditEvent } from "./events.ts";

const TEXT_MAX = 16 * 1024;
const NAME_MAX = 512;

const cut = (max: number) =>
  z.string().transform((s) => s.length > max ? `${s.slice(0, max)}…` : s);
const text = cut(TEXT_MAX);
const name = cut(NAME_MAX);
const bytes = z.number().nonnegative().max(Number.MAX_SAFE_INTEGER);
const size = z.string().regex(/^\d{1,5}:\d{1,5}$/);
const time = z.iso.datetime({ offset: true });
const sid = z.uuid();

const stored = {
  uid: z.uuid(),
  time: time.optional(),
  ei: z.number().int().min(0).max(2 ** 31 - 1).default(0),
  reported_stream: z.uuid().optional(),
  reported_seq: z.number().int().min(1).max(Number.MAX_SAFE_INTEGER).optional(),
};
const who = { user: name, login: name.optional() };
const server = {
  server_id: z.uuid(),
  namespace: name.optional(),
  server_hostname: name.optional(),
  server_addr: name.optional(),
  server_labels: z.record(name, name).optional(),
  target_id: z.uuid().optional(),
  target_hostname: name.optional(),
  target_addr: name.optional(),
};
const connection = {
  "addr.local": name.optional(),
  "addr.remote": name.optional(),
  proto: z.enum(["ssh", "https"]).optional(),
};
const common = { ...stored, ...who, ...server, ...connection };
const exit = { exitCode: name.optional(), exitError: text.optional() };

/** An event from a node or a proxy, with a uid; every one names the host it is from. */
export const hostEventSchema = z.discriminatedUnion("event", [
  z.object({
    event: z.literal("session.start"),
    code: z.literal("T2000I"),
    ...common,
    sid,
    size: size.optional(),
    interactive: z.boolean().optional(),
  }),
  z.object({
    event: z.literal("session.join"),
    code: z.literal("T2001I"),
    ...common,
    sid,
    mode: z.enum(["peer", "observer", "moderator"]).optional(),
  }),
  z.object({ event: z.literal("session.leave"), code: z.literal("T2003I"), ...common, sid }),
  z.object({
    event: z.literal("session.end"),
    code: z.literal("T2004I"),
    ...common,
    sid,
    enhanced_recording: z.boolean(),
    interactive: z.boolean(),
    participants: z.array(name).max(1000),
    session_start: time,
    session_stop: time,
    session_recording: z.enum(["node", "node-sync", "proxy", "proxy-sync", "off"]).optional(),
    torn: z.literal(true).optional(),
  }),
  z.object({
    event: z.literal("session.data"),
    code: z.literal("T2006I"),
    ...common,
    sid,
    tx: bytes,
    rx: bytes,
  }),
  z.object({
    event: z.literal("session.rejected"),
    code: z.literal("T1006W"),
    ...common,
    reason: text,
    max: bytes.optional(),
  }),
  z.object({ event: z.literal("resize"), code: z.literal("T2002I"), ...common, sid, size }),
  z.object({
    event: z.literal("exec"),
    code: z.enum(["T3002I", "T3002E"]),
    ...common,
    sid: sid.optional(),
    command: text,
    ...exit,
  }),
  z.object({
    event: z.literal("scp"),
    code: z.enum(["T3004I", "T3004E", "T3005I", "T3005E"]),
    ...common,
    sid: sid.optional(),
    command: text.optional(),
    path: text,
    action: z.enum(["upload", "download"]),
    ...exit,
  }),
  z.object({
    event: z.literal("sftp"),
    code: z.enum(["TS001I", "TS001E"]),
    ...common,
    sid: sid.optional(),
    action: z.enum([
      "open",
      "close",
      "read",
      "write",
      "setstat",
      "fsetstat",
      "opendir",
      "readdir",
      "remove",
      "mkdir",
      "rmdir",
      "rename",
      "symlink",
      "link",
    ]),
    path: text,
    target_path: text.optional(),
    bytes_read: bytes.optional(),
    bytes_written: bytes.optional(),
    error: text.optional(),
  }),
  z.object({
    event: z.literal("subsystem"),
    code: z.enum(["T3001I", "T3001E"]),
    ...common,
    name,
    exitError: text.optional(),
  }),
  z.object({
    event: z.literal("port"),
    code: z.enum(["T3003I", "T3003E"]),
    ...common,
    success: z.boolean(),
    error: text.optional(),
    addr: name,
    direction: z.enum(["local", "remote"]).optional(),
  }),
  z.object({
    event: z.literal("x11-forward"),
    code: z.enum(["T3008I", "T3008W"]),
    ...common,
    sid: sid.optional(),
    success: z.boolean(),
    error: text.optional(),
  }),
  z.object({
    event: z.literal("auth"),
    code: z.literal("T3007W"),
    ...common,
    success: z.literal(false),
    error: text,
    message: text.optional(),
  }),
  z.object({
    event: z.literal("client.disconnect"),
    code: z.literal("T3006I"),
    ...common,
    reason: text,
  }),
]);

export type HostEvent = z.output<typeof hostEventSchema>;

/** What is stored of a host's event is one of the events of the log. */
export function asAuditEvent({ time, ...event }: HostEvent): AuditEvent {
  return { ...withoutUndefined(event), ...(time === undefined ? {} : { time }) } as AuditEvent;
}

function withoutUndefined<T extends object>(value: T): Partial<T> {
  return Object.fromEntries(
    Object.entries(value).filter(([, v]) => v !== undefined),
  ) as Partial<T>;
}

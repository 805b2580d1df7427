/** What is known of a recording besides its contents. Types and names only: everything may load it. */
import { isUuid } from "../base/ids.ts";

/** Said at the session's start by the host that records it; the header of the recording has it. */
export interface RecordingMeta {
  /** UUID of the session. */
  sid: string;
  user: string;
  /** OS login. */
  login: string;
  /** Host UUID of the node that the session runs on; empty for a host that is no node. */
  server_id: string;
  server_hostname: string;
  server_addr: string;
  /** The client, "host:port". */
  addr_remote: string;
  cluster: string;
  /** RFC 3339, UTC. */
  started: string;
  /** Size of the terminal at the start. */
  cols: number;
  rows: number;
  /** TERM. */
  term: string;
  recorded_by: "node" | "proxy";
}

/** What the auth service knows of a recording. */
export interface RecordingInfo extends RecordingMeta {
  /** Compressed bytes. */
  size: number;
  /** All of it is at the auth service. */
  finished: boolean;
  /** It ends early, because the host that made it was killed; a marker in it says so. */
  torn: boolean;
  /** Of the file, hexadecimal; of finished recordings. */
  sha256?: string;
  /** RFC 3339, UTC: when the session ended, by the clock of the host that recorded it. */
  ended?: string;
  duration_ms?: number;
  /** Who took part, the owner first. */
  participants: string[];
}

const SUFFIX = ".cast.gz";

/** Name of the recording's file. A session id is a UUID, so it never leads out of a directory. */
export function recordingFileName(sid: string): string {
  return `${sid}${SUFFIX}`;
}

/** The session id of a recording's file name; undefined for any other file. */
export function sidOfFileName(name: string): string | undefined {
  const sid = name.slice(0, -SUFFIX.length);
  return name.endsWith(SUFFIX) && isUuid(sid) ? sid : undefined;
}

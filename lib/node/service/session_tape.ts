/** The recording of a session on a terminal of this node. */
import type { RecordingMode } from "../../audit/events.ts";
import { formatAddr } from "../../base/net.ts";
import type { Tape, TapeOptions, TapeStarter } from "../../recording/tape.ts";
import type { PeerAddress } from "../../ssh/server.ts";
import type { TerminalSize } from "../pty/pty.ts";
import type { ConnectionFacts } from "./session_audit.ts";

export interface SessionTapeOptions {
  readonly tapes: TapeStarter;
  readonly id: string;
  readonly cluster: string;
  readonly facts: ConnectionFacts;
  /** Where the cluster wants sessions recorded. */
  readonly recording: RecordingMode;
  readonly connection: { readonly remote: PeerAddress };
  /** A proxy has proved that it records the session. */
  readonly isProxied: boolean;
}

/** @throws LimitExceeded, ConnectionProblem when sessions must be recorded and this one cannot be */
export async function startTape(
  { tapes, id, cluster, facts, recording, connection, isProxied }: SessionTapeOptions,
  term: string,
  { cols, rows }: TerminalSize,
): Promise<Tape> {
  return await tapes.start({
    mode: tapeMode(recording, isProxied),
    meta: {
      sid: id,
      user: facts.user,
      login: facts.login,
      server_id: facts.server_id,
      server_hostname: facts.server_hostname,
      server_addr: facts.server_addr,
      addr_remote: formatAddr(connection.remote),
      cluster,
      started: new Date().toISOString(),
      cols,
      rows,
      term,
      recorded_by: "node",
    },
  });
}

/**
 * In the modes "proxy" the proxy records; what did not come through one that does is recorded
 * here, so that nothing goes unseen.
 */
function tapeMode(recording: RecordingMode, isProxied: boolean): TapeOptions["mode"] {
  if (recording === "off" || isProxied) return "none";
  return recording.endsWith("-sync") ? "sync" : "async";
}

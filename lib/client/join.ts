/** Joining a session that runs: which one, how, and what the terminal here has to do with it. */
import type { ActiveSession } from "../api/types.ts";
import { AccessDenied, BadParameter, NotFound } from "../base/errors.ts";
import { printable } from "../base/text.ts";
import { JOIN_MODES, type JoinMode } from "../resources/types.ts";
import type { WindowSize } from "./node_session.ts";

const SHOWN = 5;

/**
 * The session of this id; the beginning of one is enough where only one session begins so.
 * @param program that is run, for what its user can do next
 * @throws NotFound, BadParameter when several do
 */
export function findSession(
  sessions: readonly ActiveSession[],
  text: string,
  program: "tsh" | "tctl",
): ActiveSession {
  const start = text.toLowerCase();
  const found = sessions.filter(({ sid }) => start !== "" && sid.startsWith(start));
  const [session] = found;
  if (found.length > 1) {
    const ids = found.slice(0, SHOWN).map(({ sid, user, login, server_hostname }) =>
      `  ${sid} ${user} ${login}@${server_hostname}`
    );
    throw new BadParameter(
      `${found.length} sessions have an id that begins with ${quoted(text)}, type more of it:\n` +
        ids.join("\n") + (found.length > SHOWN ? "\n  …" : ""),
    );
  }
  if (session) return session;
  throw new NotFound(
    program === "tsh"
      ? `The session ${quoted(text)} is over, or your roles do not let you join it: ` +
        "`tsh sessions ls` shows those that you may join"
      : `The session ${quoted(text)} is over, or there was none: see \`tctl sessions ls\``,
  );
}

/**
 * How to join it: as asked for, else as the roles allow, rather as a peer. The node decides; this
 * only says earlier what it would say.
 * @throws AccessDenied, BadParameter for a session without a terminal
 */
export function chooseMode(session: ActiveSession, asked: string | undefined): JoinMode {
  const wanted = JOIN_MODES.find((mode) => mode === asked);
  if (asked !== undefined && wanted === undefined) {
    throw new BadParameter(`--mode=${printable(asked)} is not one of ${JOIN_MODES.join(", ")}`);
  }
  if (!session.interactive) {
    throw new BadParameter(
      `The session ${session.sid} has no terminal (${printable(session.command ?? "")}), so it ` +
        "cannot be joined",
    );
  }
  const allowed = session.join_modes ?? [];
  const mode = wanted ?? allowed[0];
  if (mode !== undefined && allowed.includes(mode)) return mode;
  const where = `${session.login}@${printable(session.server_hostname)}`;
  throw new AccessDenied(
    allowed.length > 0
      ? `Your roles let you join this session of ${printable(session.user)} as ` +
        `${allowed.join(" or ")}, not as ${wanted}`
      : `Your roles do not let you log in as ${where}, where the session is`,
  );
}

/** What to say when the terminal here is too small for the session's. */
export function sizeNotice(session: WindowSize, here: WindowSize): string | undefined {
  if (here.cols >= session.cols && here.rows >= session.rows) return undefined;
  return `This session has ${sizeText(session)} characters, your terminal ${sizeText(here)}: ` +
    "lines are cut";
}

/** The new size in an `x-teleport-event` of the node; undefined for anything else. */
export function resizeOf(name: string, payload: Uint8Array): WindowSize | undefined {
  if (name !== "x-teleport-event" || payload.length > 4096) return undefined;
  try {
    const event = JSON.parse(new TextDecoder().decode(payload)) as Record<string, unknown> | null;
    const [, cols, rows] = /^(\d{1,5}):(\d{1,5})$/.exec(String(event?.size)) ?? [];
    if (event?.event !== "resize" || cols === undefined) return undefined;
    return { cols: Number(cols), rows: Number(rows) };
  } catch {
    return undefined;
  }
}

function sizeText({ cols, rows }: WindowSize): string {
  return `${cols}×${rows}`;
}

function quoted(text: string): string {
  return `"${printable(text.slice(0, 60))}"`;
}

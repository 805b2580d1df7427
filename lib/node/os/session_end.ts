/**
 * Ends every process of a session: those in other process groups too, which a signal to the
 * leader's group would miss. A process that has made a session of its own is not part of it any
 * more, as with any login.
 *
 * The kernel has no list of a session's members, so all of /proc is looked through; once for all
 * sessions that have ended lately, which bounds the cost however many end in a second.
 */
import { log } from "../../base/log.ts";
import { closeFd, cString, libc, O_CLOEXEC } from "./libc.ts";

const SIGHUP = 1;
const SIGKILL = 9;
const SIGCONT = 18;

/** Between two looks at /proc while sessions are ending. */
const ROUND_MS = 50;
/** Rounds from the hang-up to the kill: a second to end by oneself. */
const GRACE_ROUNDS = 20;
/** Rounds of SIGKILL: between the look and the signal, a process may have made another. */
const KILL_ROUNDS = 40;

interface Ending {
  round: number;
  readonly done: PromiseWithResolvers<void>;
}

const endings = new Map<number, Ending>();
let timer: ReturnType<typeof setTimeout> | undefined;

/**
 * Hangs the session up, and kills what is still there a second later. Resolves when no live
 * process of it is left. The leader must not have been reaped: its entry in the process table is
 * what keeps the session's number from being given to somebody else.
 *
 * @param sessionId the leader's process number
 */
export function endSession(sessionId: number): Promise<void> {
  let ending = endings.get(sessionId);
  if (!ending) {
    ending = { round: 0, done: Promise.withResolvers<void>() };
    endings.set(sessionId, ending);
    timer ??= setTimeout(nextRound, ROUND_MS);
  }
  return ending.done.promise;
}

function nextRound(): void {
  timer = undefined;
  const members = membersOf(endings);
  for (const [sessionId, ending] of endings) {
    const pids = members.get(sessionId) ?? [];
    if (pids.length > 0 && ending.round < GRACE_ROUNDS + KILL_ROUNDS) {
      press(pids, ending.round++);
      continue;
    }
    if (pids.length > 0) {
      log("node").warn("Processes of a session that has ended cannot be killed", { pids });
    }
    endings.delete(sessionId);
    ending.done.resolve();
  }
  if (endings.size > 0) timer = setTimeout(nextRound, ROUND_MS);
}

function press(pids: number[], round: number): void {
  for (const pid of pids) {
    if (round >= GRACE_ROUNDS) {
      libc().kill(pid, SIGKILL);
    } else if (round === 0) {
      libc().kill(pid, SIGHUP);
      // A stopped job would not see the hang-up until it is continued.
      libc().kill(pid, SIGCONT);
    }
  }
}

/** Live processes (zombies are not counted) of the given sessions. Exported for tests. */
export function membersOf(sessions: { has(sessionId: number): boolean }): Map<number, number[]> {
  const members = new Map<number, number[]>();
  for (const entry of Deno.readDirSync("/proc")) {
    const pid = Number(entry.name);
    if (!Number.isInteger(pid)) continue;
    const stat = readStat(pid);
    if (!stat || !sessions.has(stat.session) || stat.state === "Z" || stat.state === "X") continue;
    const list = members.get(stat.session);
    if (list) list.push(pid);
    else members.set(stat.session, [pid]);
  }
  return members;
}

const buffer = new Uint8Array(512);
const decoder = new TextDecoder("latin1");

/** By libc, which is several times as fast as Deno's files are for a few bytes. */
function readStat(pid: number): Stat | undefined {
  const fd = libc().open(cString(`/proc/${pid}/stat`), O_CLOEXEC, 0);
  if (fd < 0) return undefined; // It has just ended.
  const n = Number(libc().read(fd, buffer, BigInt(buffer.length)));
  closeFd(fd);
  return n > 0 ? parseStat(decoder.decode(buffer.subarray(0, n))) : undefined;
}

export interface Stat {
  /** One letter, as in proc(5). */
  state: string;
  session: number;
}

/** From the text of /proc/PID/stat. The name in brackets may hold anything, brackets too. */
export function parseStat(text: string): Stat | undefined {
  const [state, , , session] = text.slice(text.lastIndexOf(")") + 2).split(" ");
  if (!state || session === undefined) return undefined;
  return { state, session: Number(session) };
}

/**
 * A session on a terminal: one program, the parties that see it, and the tape that records it. It
 * is apart from the channel that asked for it, so that others can join, and so that it can wait
 * for an owner whose network broke.
 */
import type { ActiveSession } from "../../api/types.ts";
import type { RecordingMode } from "../../audit/events.ts";
import { messageOf } from "../../base/errors.ts";
import { log } from "../../base/log.ts";
import type { Tape } from "../../recording/tape.ts";
import type { Launch } from "../process/launch.ts";
import type { TerminalSize } from "../pty/pty.ts";
import { Boundary } from "./boundary.ts";
import type { Party, SessionOutcome } from "./party.ts";
import type { OpenTerminal, RunningTerminal } from "./program.ts";
import type { RunningSession } from "../../host/running_sessions.ts";
import { isFullScreen } from "./screen.ts";
import { type SessionAudit, sizeText } from "./session_audit.ts";

export interface LiveSessionOptions {
  readonly id: string;
  readonly owner: { readonly user: string; readonly roles: readonly string[] };
  readonly login: string;
  /** The command, where it is no shell. */
  readonly command?: string;
  readonly terminal: OpenTerminal;
  readonly launch: Launch;
  readonly size: TerminalSize;
  readonly tape: Tape;
  readonly recording: RecordingMode;
  readonly audit: SessionAudit;
  /** Where the session runs, for the list of active sessions. */
  readonly place: Pick<ActiveSession, "server_id" | "server_hostname" | "server_addr">;
  /** For how long it waits for a party when all are gone, in milliseconds; 20 s. */
  readonly lingerMs?: number;
  /** Told first of all when it is over, before the audit log hears of its end. */
  readonly onOver: (outcome: SessionOutcome) => void;
  /** What the list of active sessions says has changed. */
  readonly onChange: () => void;
}

/** As Teleport has it. */
const LINGER_MS = 20_000;
/** What the program may write when nobody sees it, in bytes; then it is held. */
const MAX_UNSEEN = 1024 * 1024;
/** Each may have output of some megabytes waiting. */
export const MAX_PARTIES = 64;
/** Participants that its end names. */
const MAX_PARTICIPANTS = 1000;
/** Roles of one session in the list of active sessions. */
const MAX_SHOWN = 100;

const CTRL_C = 3;
const LETTER_T = "t".charCodeAt(0);

export class LiveSession implements RunningSession {
  /** Resolves when it is over, reported and cleared away; never rejects. */
  readonly ended: Promise<void>;
  readonly #options: LiveSessionOptions;
  readonly #program: RunningTerminal;
  /** In the order they came. */
  readonly #parties = new Set<Party>();
  readonly #everybody = new Set<string>();
  readonly #started = new Date().toISOString();
  readonly #stopped = Promise.withResolvers<SessionOutcome>();
  /** Whose reading holds the program: the owner, or who is there in the owner's place. */
  #pace: Party | undefined;
  #size: TerminalSize;
  readonly #boundary = new Boundary();
  #lingerTimer: ReturnType<typeof setTimeout> | undefined;
  #tapeIsBehind = false;
  #unseen = 0;
  #tx = 0;
  #rx = 0;
  #isOver = false;

  /**
   * Starts the program with its owner there.
   *
   * @param greeting what the owner reads before it, e.g. the message of the day
   * @throws OsError when it cannot be started; the terminal is still open then
   */
  constructor(options: LiveSessionOptions, owner: Party, greeting: string) {
    this.#options = options;
    this.#size = options.size;
    this.#program = options.terminal.start(options.launch);
    this.#program.input.on("error", () => {}); // the program is gone: told by its end
    this.#program.input.setMaxListeners(0); // each party that types may wait for room
    this.#program.output.on("data", (chunk: Uint8Array) => this.#onOutput(chunk));
    this.#add(owner);
    if (greeting !== "") this.#onOutput(new TextEncoder().encode(greeting));
    this.ended = this.#run();
  }

  get id(): string {
    return this.#options.id;
  }

  get owner(): { readonly user: string; readonly roles: readonly string[] } {
    return this.#options.owner;
  }

  get login(): string {
    return this.#options.login;
  }

  describe(): ActiveSession {
    const { id, owner, login, place, command, recording } = this.#options;
    return {
      sid: id,
      user: owner.user,
      roles: owner.roles.slice(0, MAX_SHOWN),
      login,
      ...place,
      started: this.#started,
      cols: this.#size.cols,
      rows: this.#size.rows,
      interactive: true,
      ...(command === undefined ? {} : { command }),
      parties: [...this.#parties].map(({ user, mode, joined }) => ({ user, mode, joined })),
      recording,
    };
  }

  /** Whether there is no room for anybody else. */
  get isCrowded(): boolean {
    return this.#parties.size >= MAX_PARTIES;
  }

  /** Lets somebody in who may be there. */
  join(party: Party): void {
    const { audit, tape, owner, login, place, id } = this.#options;
    const { user, mode } = party;
    party.missOutput();
    const size = `${this.#size.cols}×${this.#size.rows}`;
    party.greet(
      `Joining session ${id} of ${owner.user}, ${login}@${place.server_hostname}, terminal ${size}`,
    );
    this.#announce(`${user} has joined this session as ${mode}`, party);
    audit.joined(party.fields, mode);
    tape.mark(`join ${user} (${mode})`);
    this.#tellOthers(party, { event: "session.join", mode });
    this.#add(party);
    // The picture wipes what was there before.
    this.#draw(party, `You are in ${owner.user}'s session as ${mode}: ${waysOf(mode)}`);
  }

  /** A party's channel is gone. */
  leave(party: Party): void {
    party.forget();
    this.#remove(party);
  }

  /** The party's terminal has another size now. Of those who type the last one counts. */
  resize(party: Party, size: TerminalSize): void {
    party.cols = size.cols;
    if (this.#isOver || party.mode !== "peer" || !(size.cols > 0 && size.rows > 0)) return;
    const { audit, tape, onChange } = this.#options;
    const before = this.#size;
    this.#size = size;
    this.#program.resize(size);
    if (size.cols === before.cols && size.rows === before.rows) return;
    tape.resize(size);
    audit.resized(sizeText(size), party.fields);
    this.#tellOthers(party, { event: "resize", size: sizeText(size) });
    onChange();
  }

  /** @param name of a signal, without "SIG" */
  signal(party: Party, name: string): void {
    if (party.mode === "peer") this.#program.signal(name);
  }

  /** Ends it for everybody, who read the reason. */
  end(reason: string): void {
    this.#stopped.resolve({ reason });
  }

  async #run(): Promise<void> {
    const { tape, audit, recording, onOver } = this.#options;
    const outcome = await Promise.race([
      this.#program.ended.then(
        (exit): SessionOutcome => ({ exit }),
        (error): SessionOutcome => ({ reason: messageOf(error) }),
      ),
      this.#stopped.promise,
      tape.failed.then((error): SessionOutcome => ({ reason: error.message })),
    ]);
    this.#isOver = true;
    clearTimeout(this.#lingerTimer);
    this.#boundary.flush();
    for (const party of [...this.#parties]) {
      party.finish(outcome);
      this.#count(party);
    }
    this.#parties.clear();
    onOver(outcome);
    audit.ended({ tx: this.#tx, rx: this.#rx }, {
      participants: [...this.#everybody].slice(0, MAX_PARTICIPANTS),
      recording,
      lost: tape.lost,
    });
    try {
      await this.#program.close();
    } catch (error) {
      log("node").warn("A session was not cleared away", { error: messageOf(error) });
    }
    await tape.end();
  }

  // --- output ---

  #onOutput(chunk: Uint8Array): void {
    for (const party of this.#parties) party.send(chunk);
    const behind = this.#options.tape.output(chunk);
    if (behind) this.#waitForTape(behind);
    if (this.#pace === undefined) this.#unseen += chunk.length;
    if (this.#mustHold) this.#program.output.pause();
    this.#boundary.passed(chunk);
  }

  get #mustHold(): boolean {
    return this.#tapeIsBehind || (this.#pace?.isFull ?? this.#unseen > MAX_UNSEEN);
  }

  #goOn(): void {
    if (!this.#mustHold) this.#program.output.resume();
  }

  #waitForTape(behind: Promise<void>): void {
    this.#tapeIsBehind = true;
    behind.then(() => {
      this.#tapeIsBehind = false;
      this.#goOn();
    });
  }

  /**
   * Gives a party the screen as it is, and then what follows.
   *
   * @param notice for this party alone
   */
  #draw(party: Party, notice?: string): void {
    this.#boundary.whenWhole(() => {
      if (party.isGone || !party.needsPicture) return;
      party.waitForPicture();
      this.#picture().then((picture) => {
        party.draw(picture);
        const style = { cols: this.#size.cols, fullScreen: isFullScreen(picture) };
        if (notice !== undefined) this.#boundary.whenWhole(() => party.notify(notice, style));
        // It fell behind again meanwhile, and has read all the same.
        if (party.needsPicture && !party.isFull) this.#draw(party);
      });
    });
  }

  async #picture(): Promise<Uint8Array> {
    try {
      return await this.#options.tape.snapshot();
    } catch (error) {
      log("node").warn("The screen of a session is not known", { error: messageOf(error) });
      return new Uint8Array(0);
    }
  }

  /** Tells everybody but `about`, on their terminals. */
  async #announce(text: string, about: Party): Promise<void> {
    if (this.#parties.size === 0) return;
    const fullScreen = isFullScreen(await this.#picture());
    this.#boundary.whenWhole(() => {
      for (const party of this.#parties) {
        if (party !== about) party.notify(text, { cols: this.#size.cols, fullScreen });
      }
    });
  }

  // --- input ---

  #onInput(party: Party, chunk: Uint8Array): void {
    if (this.#isOver) return;
    if (party.mode === "peer") return this.#type(party, chunk);
    if (party.mode === "moderator" && chunk.length === 1 && chunk[0] === LETTER_T) {
      return this.end(`The session was ended by ${party.user}, its moderator`);
    }
    if (!chunk.includes(CTRL_C)) return;
    party.dismiss("You have left the session.");
    this.#remove(party);
  }

  #type(party: Party, chunk: Uint8Array): void {
    const { input } = this.#program;
    if (input.destroyed || input.write(chunk)) return;
    party.pauseInput();
    input.once("drain", () => party.resumeInput());
  }

  // --- parties ---

  #add(party: Party): void {
    clearTimeout(this.#lingerTimer);
    this.#parties.add(party);
    this.#everybody.add(party.user);
    party.listen((chunk) => this.#onInput(party, chunk), () => this.#onDrained(party));
    this.#unseen = 0;
    this.#choosePace();
    this.#options.onChange();
  }

  /** Tells the others' programs what a party does: their clients, and a proxy that records. */
  #tellOthers(party: Party, event: Record<string, unknown>): void {
    const { user, login } = party.fields;
    for (const other of this.#parties) {
      if (other !== party) other.tell({ sid: this.id, user, login, ...event });
    }
  }

  #onDrained(party: Party): void {
    if (party.needsPicture) this.#draw(party);
    if (party === this.#pace) this.#goOn();
  }

  #remove(party: Party): void {
    if (!this.#parties.delete(party)) return;
    this.#count(party);
    if (this.#isOver) return;
    const { audit, tape, onChange } = this.#options;
    audit.left(party.fields);
    tape.mark(`leave ${party.user}`);
    this.#tellOthers(party, { event: "session.leave" });
    this.#choosePace();
    if (this.#parties.size === 0) this.#linger(party);
    else this.#announce(`${party.user} has left this session`, party);
    onChange();
  }

  #count(party: Party): void {
    this.#tx += party.tx;
    this.#rx += party.rx;
  }

  /** Someone of the owner's, else someone who types, else who is there longest. */
  #choosePace(): void {
    const parties = [...this.#parties];
    this.#pace = parties.find(({ user }) => user === this.#options.owner.user) ??
      parties.find(({ mode }) => mode === "peer") ?? parties[0];
    this.#goOn();
  }

  #linger(last: Party): void {
    const gone = () => this.end("Nobody was in the session any more");
    if (!last.mayReturn) return gone();
    this.#lingerTimer = setTimeout(gone, this.#options.lingerMs ?? LINGER_MS);
  }
}

function waysOf(mode: Party["mode"]): string {
  switch (mode) {
    case "peer":
      return "what you type goes to it";
    case "observer":
      return "keys are ignored, Ctrl-C leaves";
    case "moderator":
      return "Ctrl-C leaves, t ends it for all";
  }
}

/** For tests: a session on a terminal without a terminal, a program, or a connection. */
import { Duplex, PassThrough, Readable, Writable } from "node:stream";
import type { AuditEvent } from "../../audit/events.ts";
import { FakeClock } from "../../base/clock.ts";
import type { TeleportError } from "../../base/errors.ts";
import { SessionAudit } from "../../host/session_audit.ts";
import type { Tape, TapeSize } from "../../recording/tape.ts";
import type { JoinMode } from "../../resources/types.ts";
import type { ServerChannel } from "../../ssh/server.ts";
import type { ChildExit } from "../os/child.ts";
import type { TerminalSize } from "../pty/pty.ts";
import { LiveSession, type LiveSessionOptions } from "./live_session.ts";
import { Party } from "./party.ts";
import type { OpenTerminal, RunningTerminal } from "./program.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export const SID = "5e551011-0000-4000-8000-000000000001";
const NODE_ID = "00000000-0000-4000-8000-000000000001";

/** Lets everything run that waits for nothing but its turn. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setTimeout(resolve, 0));
}

/** A program that says what it is told to. */
export class FakeProgram implements OpenTerminal {
  readonly path = "/dev/pts/0";
  typed = "";
  readonly sizes: string[] = [];
  readonly signals: string[] = [];
  isClosed = false;
  /** Bytes that were taken from it. */
  taken = 0;
  #exit = Promise.withResolvers<ChildExit>();
  readonly #output = new Readable({ highWaterMark: 64 * 1024, read: () => {} });
  readonly #input = new Writable({
    write: (chunk, _, done) => {
      this.typed += decoder.decode(chunk);
      done();
    },
  });

  start(): RunningTerminal {
    this.#output.on("data", (chunk: Uint8Array) => this.taken += chunk.length);
    const over = new Promise<void>((resolve) => this.#output.once("close", resolve));
    return {
      output: this.#output,
      input: this.#input,
      ended: over.then(() => this.#exit.promise),
      signal: (name) => this.signals.push(name),
      resize: ({ cols, rows }: TerminalSize) => this.sizes.push(`${cols}:${rows}`),
      close: () => {
        this.isClosed = true;
        this.exit({ signal: "HUP", core: false });
        return Promise.resolve();
      },
    };
  }

  close(): void {}

  say(text: string | Uint8Array): void {
    this.#output.push(typeof text === "string" ? encoder.encode(text) : text);
  }

  /** Says so much, as fast as it is taken. */
  async flood(bytes: number, chunk: Uint8Array = new Uint8Array(64 * 1024).fill(0x78)) {
    for (let left = bytes; left > 0; left -= chunk.length) {
      while (this.#output.readableLength > 0) {
        await new Promise((resolve) => setTimeout(resolve, 0));
      }
      this.#output.push(chunk);
    }
  }

  exit(exit: ChildExit = { code: 0 }): void {
    this.#exit.resolve(exit);
    this.#output.push(null);
    this.#output.once("end", () => this.#output.destroy());
    if (this.isClosed) this.#output.destroy();
  }
}

/** The screen is all that was ever shown. */
export class FakeTape implements Tape {
  readonly recorded = true;
  readonly lost = "nothing";
  shown = "";
  readonly log: string[] = [];
  readonly #failed = Promise.withResolvers<TeleportError>();
  readonly failed = this.#failed.promise;
  /** Given back by output() while it is set. */
  behind: Promise<void> | undefined;
  /** Answers to snapshot() wait for this. */
  drawing: Promise<void> = Promise.resolve();
  isEnded = false;

  output(chunk: Uint8Array): Promise<void> | undefined {
    this.shown += decoder.decode(chunk);
    return this.behind;
  }

  resize({ cols, rows }: TapeSize): void {
    this.log.push(`resize ${cols}x${rows}`);
  }

  mark(label: string): void {
    this.log.push(label);
  }

  async snapshot(): Promise<Uint8Array> {
    const picture = encoder.encode(`<${this.shown}>`);
    await this.drawing;
    return picture;
  }

  end(): Promise<void> {
    this.isEnded = true;
    return Promise.resolve();
  }

  fail(error: TeleportError): void {
    this.#failed.resolve(error);
  }
}

/** A party and the client's side of its channel. */
export class FakeClient {
  readonly party: Party;
  readonly told: Record<string, unknown>[] = [];
  exit: ChildExit | undefined;
  #out: Uint8Array[] = [];
  #held: (() => void) | undefined;
  #reads: boolean;
  readonly #stream: Duplex;

  constructor(
    readonly user: string,
    readonly mode: JoinMode = "peer",
    o: { reads?: boolean; mayReturn?: boolean; term?: string; cols?: number } = {},
  ) {
    this.#reads = o.reads ?? true;
    this.#stream = new Duplex({
      writableHighWaterMark: 256 * 1024,
      read: () => {},
      write: (chunk: Uint8Array, _, done) => {
        this.#out.push(chunk);
        if (this.#reads) done();
        else this.#held = done;
      },
    });
    const channel: ServerChannel = {
      stream: this.#stream,
      stderr: new PassThrough().resume(),
      closed: new Promise(() => {}),
      exit: (code) => this.exit ??= { code },
      exitSignal: (signal, core = false) => this.exit ??= { signal, core },
    };
    this.party = new Party({
      user,
      mode,
      term: o.term ?? "dumb",
      cols: o.cols ?? 80,
      channel,
      fields: { user, login: "root", server_id: NODE_ID },
      onActivity: () => {},
      tell: (event) => this.told.push(event),
      mayReturn: () => o.mayReturn ?? true,
    });
  }

  /** What it has been sent. */
  get seen(): string {
    return this.#out.map((chunk) => decoder.decode(chunk)).join("");
  }

  /** Bytes that wait for it at the node. */
  get waiting(): number {
    return this.#stream.writableLength;
  }

  type(text: string): void {
    this.#stream.push(encoder.encode(text));
  }

  forgetSeen(): void {
    this.#out = [];
  }

  stopReading(): void {
    this.#reads = false;
  }

  goOnReading(): void {
    this.#reads = true;
    this.#held?.();
    this.#held = undefined;
  }
}

export interface Live {
  readonly session: LiveSession;
  readonly program: FakeProgram;
  readonly tape: FakeTape;
  readonly owner: FakeClient;
  readonly events: AuditEvent[];
  join(
    user: string,
    mode?: JoinMode,
    o?: { reads?: boolean; term?: string; cols?: number },
  ): FakeClient;
  /** Ends the program and waits for all to be reported. */
  end(): Promise<void>;
}

/** A session of alice's. */
export function live(
  over: Partial<LiveSessionOptions> & { owner?: never } = {},
  owner: FakeClient = new FakeClient("alice"),
): Live {
  const program = new FakeProgram();
  const tape = new FakeTape();
  const events: AuditEvent[] = [];
  const fields = { user: "alice", login: "root", server_id: NODE_ID, sid: SID };
  const audit = new SessionAudit(
    {
      emit: (event) => {
        events.push(event);
        // A recording that ends without its session's end is one of a killed node.
        if (event.event === "session.end") tape.log.push(`end reported, ended ${tape.isEnded}`);
      },
    },
    fields,
    new FakeClock(),
  );
  audit.started("80:25");
  const session = new LiveSession(
    {
      id: SID,
      owner: { user: "alice", roles: ["dev"] },
      login: "root",
      terminal: program,
      launch: { path: "/bin/sh", argv: [], env: {}, cwd: "/" },
      size: { cols: 80, rows: 25 },
      tape,
      recording: "node",
      audit,
      place: { server_id: NODE_ID, server_hostname: "node-1", server_addr: "192.0.2.1:3022" },
      onOver: () => {},
      onChange: () => {},
      ...over,
    },
    owner.party,
    "",
  );
  return {
    session,
    program,
    tape,
    owner,
    events,
    join(user, mode = "peer", o = {}) {
      const client = new FakeClient(user, mode, o);
      session.join(client.party);
      return client;
    },
    async end() {
      program.exit();
      await session.ended;
    },
  };
}

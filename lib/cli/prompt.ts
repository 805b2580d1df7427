/**
 * Questions to the person, asked on the controlling terminal: stdin may be a pipe whose data belong
 * to the remote command. For scripts, the same answers come as lines of stdin.
 */
import { utf8Decode, utf8Encode } from "../base/bytes.ts";
import { BadParameter } from "../base/errors.ts";
import { Exit, exitStatus } from "./exit.ts";

export interface Prompter {
  /** An answer that is not shown while it is typed. */
  secret(label: string): Promise<string>;
  line(label: string): Promise<string>;
  /** true for yes. Asks again until the answer is "yes" or "no". */
  confirm(question: string): Promise<boolean>;
}

const maxAnswerBytes = 4096;

/** What a question needs of a terminal. */
interface Tty {
  read(buffer: Uint8Array): Promise<number | null>;
  writeSync(bytes: Uint8Array): number;
  setRaw(on: boolean): void;
  close(): void;
}

/** The controlling terminal, or undefined where the process has none. Close it by `using`. */
export function openTerminal(): TerminalPrompter | undefined {
  try {
    return new TerminalPrompter(Deno.openSync("/dev/tty", { read: true, write: true }));
  } catch {
    // No terminal, or a program that was compiled without the permission to open devices: then
    // stdin will do, when it is one.
    return Deno.stdin.isTerminal() ? new TerminalPrompter(standardStreams) : undefined;
  }
}

const standardStreams: Tty = {
  read: (buffer) => Deno.stdin.read(buffer),
  writeSync: (bytes) => Deno.stderr.writeSync(bytes),
  setRaw: (on) => Deno.stdin.setRaw(on),
  close: () => {},
};

export class TerminalPrompter implements Prompter, Disposable {
  readonly #tty: Tty;
  readonly #typedAhead: number[] = [];

  constructor(tty: Tty) {
    this.#tty = tty;
  }

  async line(label: string): Promise<string> {
    this.#write(`${label} `);
    return await this.#read();
  }

  async secret(label: string): Promise<string> {
    // First, so that nothing that is typed at once is shown.
    using _raw = rawMode(this.#tty);
    this.#write(`${label} `);
    try {
      return await this.#readHidden();
    } finally {
      this.#write("\r\n");
    }
  }

  async confirm(question: string): Promise<boolean> {
    for (let prompt = question;; prompt = 'Please type "yes" or "no":') {
      const answer = (await this.line(prompt)).trim().toLowerCase();
      if (answer === "yes" || answer === "y") return true;
      if (answer === "no" || answer === "n") return false;
    }
  }

  [Symbol.dispose](): void {
    this.#tty.close();
  }

  #write(text: string): void {
    this.#tty.writeSync(utf8Encode(text));
  }

  /** The kernel edits the line and delivers it whole. */
  async #read(): Promise<string> {
    const line: number[] = [];
    for (;;) {
      const byte = await this.#nextByte();
      if (byte === key.lineFeed || byte === key.enter) return utf8Decode(Uint8Array.from(line));
      if (line.length < maxAnswerBytes) line.push(byte);
    }
  }

  async #readHidden(): Promise<string> {
    const typed: number[] = [];
    for (;;) {
      const byte = await this.#nextByte();
      if (byte === key.ctrlC || (byte === key.ctrlD && typed.length === 0)) {
        throw new Exit(exitStatus.interrupted);
      }
      if (byte === key.enter || byte === key.lineFeed) return utf8Decode(Uint8Array.from(typed));
      edit(typed, byte);
    }
  }

  /** What was typed ahead of a question is kept for it. */
  async #nextByte(): Promise<number> {
    const byte = this.#typedAhead.shift();
    if (byte !== undefined) return byte;
    const buffer = new Uint8Array(maxAnswerBytes);
    const n = await this.#tty.read(buffer);
    if (n === null) throw new Exit(exitStatus.interrupted);
    this.#typedAhead.push(...buffer.subarray(0, n));
    return await this.#nextByte();
  }
}

const key = {
  ctrlC: 3,
  ctrlD: 4,
  backspace: 8,
  lineFeed: 10,
  enter: 13,
  ctrlU: 21,
  ctrlW: 23,
  delete: 127,
} as const;

/** What a line editor does with one more byte, for an answer that is not shown. Exported for tests. */
export function edit(typed: number[], byte: number): void {
  if (byte === key.backspace || byte === key.delete) {
    // A character may be several bytes of UTF-8: continuation bytes go with their first one.
    let last = typed.pop();
    while (last !== undefined && (last & 0xc0) === 0x80) last = typed.pop();
  } else if (byte === key.ctrlU || byte === key.ctrlW) {
    typed.length = 0;
  } else if (byte >= 32 && typed.length < maxAnswerBytes) {
    typed.push(byte);
  }
}

/**
 * Raw mode until disposed. It is also left when the process ends in between, by Deno.exit() or by a
 * signal: a terminal that echoes nothing is no way to say goodbye.
 */
export function rawMode(
  tty: { setRaw(on: boolean): void },
  onRestore?: () => void,
): Disposable {
  let restored = false;
  const restore = () => {
    if (restored) return;
    restored = true;
    globalThis.removeEventListener("unload", restore);
    for (const [signal, listener] of listeners) Deno.removeSignalListener(signal, listener);
    try {
      tty.setRaw(false);
    } catch {
      // The terminal is gone: nothing is left to restore.
    }
    onRestore?.();
  };
  const listeners = ([["SIGTERM", 15], ["SIGHUP", 1]] as const).map(([signal, number]) =>
    [signal, () => {
      restore();
      Deno.exit(128 + number);
    }] as const
  );
  tty.setRaw(true);
  globalThis.addEventListener("unload", restore);
  for (const [signal, listener] of listeners) Deno.addSignalListener(signal, listener);
  return { [Symbol.dispose]: restore };
}

/** Answers for scripts: one line of stdin each, nothing is shown. */
export class StdinPrompter implements Prompter {
  readonly #read: (buffer: Uint8Array) => Promise<number | null>;
  #pending: number[] = [];
  #ended = false;

  constructor(stdin: { read(buffer: Uint8Array): Promise<number | null> } = Deno.stdin) {
    this.#read = (buffer) => stdin.read(buffer);
  }

  /** @throws BadParameter when stdin has ended */
  async line(label: string): Promise<string> {
    if (!await this.hasLine()) {
      throw new BadParameter(
        `Stdin ended before it answered "${label.replace(/[:?\s]+$/, "")}": ` +
          "give one answer a line, or run the command on a terminal",
      );
    }
    const end = this.#pending.indexOf(key.lineFeed);
    const bytes = this.#pending.splice(0, end < 0 ? this.#pending.length : end + 1);
    return utf8Decode(Uint8Array.from(bytes)).replace(/\r?\n$/, "");
  }

  secret(label: string): Promise<string> {
    return this.line(label);
  }

  /** A script never says yes to a question that it did not expect. */
  confirm(_question: string): Promise<boolean> {
    return Promise.resolve(false);
  }

  /** Whether there is another line; waits until that is known. */
  async hasLine(): Promise<boolean> {
    const buffer = new Uint8Array(1024);
    while (!this.#ended && !this.#pending.includes(key.lineFeed)) {
      if (this.#pending.length > maxAnswerBytes) throw new BadParameter("The line is too long");
      const n = await this.#read(buffer);
      if (n === null) this.#ended = true;
      else this.#pending.push(...buffer.subarray(0, n));
    }
    return this.#pending.length > 0;
  }
}

/**
 * Who answers the questions of a command that exists to ask them (login, signup): the terminal when
 * stdin is one, else the lines of stdin, else (stdin is empty) the controlling terminal.
 */
export async function openPrompter(): Promise<Prompter & Partial<Disposable>> {
  if (!Deno.stdin.isTerminal()) {
    const lines = new StdinPrompter();
    if (await lines.hasLine()) return lines;
  }
  const terminal = openTerminal();
  if (terminal) return terminal;
  throw new BadParameter(
    "There is no terminal to ask on and stdin is empty: give the answers on stdin, one a line",
  );
}

/**
 * stdin, stdout and stderr as streams, and the terminal behind them. Node's own process.stdin is
 * not used: in Deno it is slow to start and keeps bytes that it has read ahead.
 */
import { Readable, Writable } from "node:stream";
import type { Buffer } from "node:buffer";
import { concat } from "../base/bytes.ts";
import { rawMode } from "./prompt.ts";

const readSize = 128 * 1024;
/** How long a process that was told to stop may take to do so. */
const stopMs = 50;

/** Bytes of stdin as they come, with back-pressure. */
export function stdinStream(): Readable {
  return new Readable({
    highWaterMark: readSize,
    read() {
      const buffer = new Uint8Array(readSize);
      Deno.stdin.read(buffer).then(
        (n) => this.push(n === null ? null : buffer.subarray(0, n)),
        (e) => this.destroy(e),
      );
    },
  });
}

/** stdout or stderr as a stream with back-pressure; what piles up goes out in one write. */
export function outputStream(target: { write(bytes: Uint8Array): Promise<number> }): Writable {
  const writeAll = async (bytes: Uint8Array) => {
    for (let done = 0; done < bytes.length;) done += await target.write(bytes.subarray(done));
  };
  return new Writable({
    highWaterMark: 1 << 20,
    write(chunk: Buffer, _encoding, done) {
      writeAll(chunk).then(() => done(), done);
    },
    writev(chunks, done) {
      writeAll(concat(...chunks.map(({ chunk }) => chunk))).then(() => done(), done);
    },
  });
}

/** The terminal that stdin is. Its size is that of stdin's terminal, 80×25 where it is unknown. */
export class StdinTerminal {
  readonly name = Deno.env.get("TERM") || "xterm";
  #wantsRaw = false;
  #raw: Disposable | undefined;

  size(): { cols: number; rows: number } {
    try {
      const { columns, rows } = Deno.consoleSize();
      if (columns > 0 && rows > 0) return { cols: columns, rows };
    } catch {
      // Neither stdin, stdout nor stderr is a terminal.
    }
    return { cols: 80, rows: 25 };
  }

  /** Whether line feeds have to be written with carriage returns. */
  get isRaw(): boolean {
    return this.#raw !== undefined;
  }

  raw(): Disposable {
    this.#wantsRaw = true;
    this.#enterRaw();
    return {
      [Symbol.dispose]: () => {
        this.#wantsRaw = false;
        this.#cook();
      },
    };
  }

  /** Stops this process, as Ctrl-Z does with others. Resolves when it goes on, raw as before. */
  async suspend(): Promise<void> {
    this.#cook();
    Deno.kill(Deno.pid, "SIGTSTP");
    // Other threads may get a little further before the process stops, and so may this one.
    await new Promise((resolve) => setTimeout(resolve, stopMs));
    if (this.#wantsRaw) this.#enterRaw();
  }

  #enterRaw(): void {
    this.#raw ??= rawMode(Deno.stdin);
    leaveOutputAlone();
  }

  #cook(): void {
    this.#raw?.[Symbol.dispose]();
    this.#raw = undefined;
  }

  onResize(listener: () => void): Disposable {
    Deno.addSignalListener("SIGWINCH", listener);
    return { [Symbol.dispose]: () => Deno.removeSignalListener("SIGWINCH", listener) };
  }
}

/**
 * Where keys come from: stdin when it is a terminal, else the controlling terminal, so that a
 * program can be steered while its stdin is data.
 */
export class KeyTerminal {
  readonly #tty: KeyDevice;
  readonly #isStdin: boolean;

  private constructor(tty: KeyDevice, isStdin: boolean) {
    this.#tty = tty;
    this.#isStdin = isStdin;
  }

  /** undefined where there is nobody to press a key. */
  static open(): KeyTerminal | undefined {
    if (Deno.stdin.isTerminal()) return new KeyTerminal(Deno.stdin, true);
    try {
      return new KeyTerminal(
        Deno.openSync(CONTROLLING_TERMINAL, { read: true, write: true }),
        false,
      );
    } catch {
      return undefined;
    }
  }

  /** Bytes as they are typed; null when the terminal is gone. */
  read(buffer: Uint8Array): Promise<number | null> {
    return this.#tty.read(buffer);
  }

  /** Keys come at once and unchanged until disposed, or until the process ends by itself. */
  raw(onRestore: () => void): Disposable {
    const raw = rawMode(this.#tty, onRestore);
    leaveOutputAlone(this.#isStdin ? undefined : CONTROLLING_TERMINAL);
    return raw;
  }
}

const CONTROLLING_TERMINAL = "/dev/tty";

interface KeyDevice {
  read(buffer: Uint8Array): Promise<number | null>;
  setRaw(on: boolean): void;
}

/**
 * Deno's raw mode leaves the terminal's output processing on, which turns each line feed into two
 * characters: full-screen programs on the node would draw stairs. Leaving raw mode brings it back.
 */
function leaveOutputAlone(device?: string): void {
  const args = [...(device === undefined ? [] : ["-F", device]), "-opost"];
  try {
    new Deno.Command("stty", { args, stdin: "inherit", stderr: "null" }).outputSync();
  } catch {
    // A machine without stty: shells work all the same.
  }
}

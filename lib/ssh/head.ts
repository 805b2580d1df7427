/** What comes before the first packet of a connection: the identification line (RFC 4253 §4.2). */
import { Buffer } from "node:buffer";

/** 255 bytes with CR and LF. */
const maxIdent = 255;
/** What a server may say before its identification line. */
const maxGreeting = 64 * 1024;

/** "none": the line is not complete; "packet": a whole packet is there behind it. */
export type HeadState = "none" | "line" | "packet" | "wrong";

/**
 * Collects the line, and what follows it: ssh2 forgets a part of a line that comes in three pieces,
 * and sends our KEXINIT as soon as it has the line.
 */
export class Head {
  readonly #isServer: boolean;
  #bytes: Buffer = Buffer.alloc(0);
  #line = "";
  #greeting = 0;
  #lastGreeting = "";

  /** @param isServer clients must not say anything before the line */
  constructor(isServer: boolean) {
    this.#isServer = isServer;
  }

  get isComplete(): boolean {
    return this.#line !== "";
  }

  /** The peer's software and its comment, e.g. "OpenSSH_9.2p1 Debian-2"; not safe to show. */
  get software(): string {
    return this.#line.slice(this.#line.indexOf("-", 4) + 1);
  }

  /** The last line that a server said before its identification; not safe to show. */
  get greeting(): string {
    return this.#lastGreeting;
  }

  push(chunk: Buffer): HeadState {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    while (!this.isComplete) {
      const end = this.#bytes.indexOf(10);
      if (end < 0) return this.#isPossible() ? "none" : "wrong";
      const line = this.#bytes.toString("latin1", 0, end).replace(/\r$/, "");
      this.#bytes = this.#bytes.subarray(end + 1);
      if (isIdent(line)) {
        this.#line = line;
      } else {
        this.#greeting += end + 1;
        const isGreeting = !this.#isServer && !line.startsWith("SSH-");
        if (!isGreeting || this.#greeting > maxGreeting) return "wrong";
        if (line !== "") this.#lastGreeting = line.slice(0, maxIdent);
      }
    }
    const { length } = this.#bytes;
    return length >= 4 && length >= 4 + this.#bytes.readUInt32BE(0) ? "packet" : "line";
  }

  /** The line, and all that followed it. */
  take(): { line: string; rest: Buffer } {
    const rest = this.#bytes;
    this.#bytes = Buffer.alloc(0);
    return { line: this.#line, rest };
  }

  #isPossible(): boolean {
    const start = this.#bytes.toString("latin1", 0, 4);
    if (!this.#isServer && !start.startsWith("SSH-")) {
      return this.#bytes.length + this.#greeting <= maxGreeting;
    }
    return "SSH-".startsWith(start) && this.#bytes.length <= maxIdent;
  }
}

function isIdent(line: string): boolean {
  return /^SSH-(?:2\.0|1\.99)-[\x21-\x7e]/.test(line) && line.length + 2 <= maxIdent;
}

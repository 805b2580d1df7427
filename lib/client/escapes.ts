/** `~.` and `~?` at the beginning of a line, as in ssh, for a session that does not answer any more. */

export interface Escaped {
  /** What is left for the node. */
  data: Uint8Array;
  disconnect?: boolean;
  help?: string;
}

const tilde = 126, dot = 46, question = 63, lineFeed = 10, carriageReturn = 13;

const help = [
  "tsh escape characters (at the beginning of a line):",
  "  ~?  this help",
  "  ~.  end the session",
  "  ~~  send a tilde",
  "",
].join("\r\n");

export class EscapeFilter {
  #atLineStart = true;
  /** A tilde that was typed at the beginning of a line and not yet sent. */
  #held = false;

  push(chunk: Uint8Array): Escaped {
    if (!this.#held && !chunk.includes(tilde)) {
      this.#remember(chunk.at(-1));
      return { data: chunk };
    }
    const data: number[] = [];
    for (const byte of chunk) {
      if (this.#held) {
        this.#held = false;
        if (byte === dot) return { data: Uint8Array.from(data), disconnect: true };
        if (byte === question) {
          this.#atLineStart = true;
          return { data: Uint8Array.from(data), help };
        }
        data.push(tilde);
        this.#atLineStart = false;
        if (byte === tilde) continue;
      } else if (byte === tilde && this.#atLineStart) {
        this.#held = true;
        continue;
      }
      data.push(byte);
      this.#remember(byte);
    }
    return { data: Uint8Array.from(data) };
  }

  #remember(byte: number | undefined): void {
    if (byte !== undefined) this.#atLineStart = byte === lineFeed || byte === carriageReturn;
  }
}

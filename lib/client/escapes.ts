/** Keys that are for this end, at the beginning of a line, as in ssh: `~.`, `~?` and others. */

/** What the person wants. */
export type Escape = "disconnect" | "help" | "list" | "suspend";

/** Input for the node, or an escape in between. */
export type Typed = { data: Uint8Array } | { escape: Escape };

const tilde = 126, lineFeed = 10, carriageReturn = 13;

/** By the byte that follows the tilde. */
const escapes = new Map<number, Escape>([
  [46, "disconnect"], // .
  [63, "help"], // ?
  [35, "list"], // #
  [26, "suspend"], // ^Z
]);

/** For a terminal in raw mode. */
export const escapeHelp = [
  "Supported escape sequences:",
  "  ~.   - end the session, whatever state it is in",
  "  ~^Z  - suspend tsh",
  "  ~#   - list forwarded connections",
  "  ~?   - this message",
  "  ~~   - send the escape character by typing it twice",
  "(Note that escapes are only recognized immediately after newline.)",
  "",
].join("\r\n");

export class EscapeFilter {
  #atLineStart = true;
  /** A tilde that was typed at the beginning of a line and not yet sent. */
  #held = false;

  /** What a chunk of input means, in its order. */
  push(chunk: Uint8Array): Typed[] {
    if (!this.#held && !chunk.includes(tilde)) {
      this.#remember(chunk.at(-1));
      return [{ data: chunk }];
    }
    const typed: Typed[] = [];
    let data: number[] = [];
    const flush = () => {
      if (data.length > 0) typed.push({ data: Uint8Array.from(data) });
      data = [];
    };
    for (const byte of chunk) {
      if (this.#held) {
        this.#held = false;
        const escape = escapes.get(byte);
        if (escape) {
          flush();
          typed.push({ escape });
          continue;
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
    flush();
    return typed;
  }

  #remember(byte: number | undefined): void {
    if (byte !== undefined) this.#atLineStart = byte === lineFeed || byte === carriageReturn;
  }
}

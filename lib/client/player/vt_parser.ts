/**
 * Cuts the output of a terminal session into what a terminal does with it: text, control
 * characters, escape and control sequences (ECMA-48; the state machine of VT500 terminals). Strings
 * for the terminal itself (OSC, DCS, APC, PM, SOS, titles of screen) are swallowed: none of them
 * draws. Sequences come whole, however the output is cut, and nothing is kept that grows.
 */

/** `ESC [ prefix params intermediates final`. */
export interface ControlSequence {
  /** "", or one of `<`, `=`, `>`, `?`: sequences that are not of the standard. */
  readonly prefix: string;
  /** Digits, `;` and `:` only. */
  readonly params: string;
  readonly intermediates: string;
  readonly final: string;
}

export interface VtHandler {
  /** Characters to draw; no control character is among them. */
  text(text: string): void;
  /** A control character of C0, ESC excepted. */
  control(code: number): void;
  escape(intermediates: string, final: string): void;
  csi(sequence: ControlSequence): void;
}

/** Longer parameters have no meaning; such a sequence is dropped. */
const MAX_PARAMS = 256;
const MAX_INTERMEDIATES = 4;

type State =
  | "ground"
  | "escape"
  | "csi"
  /** A control sequence that cannot be meant: goes on to its final character. */
  | "csi-ignored"
  | "string"
  /** Just after `ESC ]`: two sequences of the Linux console have no end mark. */
  | "osc-start"
  | "console-palette";

// deno-lint-ignore no-control-regex
const textRun = /[^\x00-\x1f\x7f-\x9f]+/y;
/** What can end a string. */
// deno-lint-ignore no-control-regex
const stringEnd = /[\x07\x18\x1a\x1b\x9c]/g;

export class VtParser {
  readonly #handler: VtHandler;
  #state: State = "ground";
  #prefix = "";
  #params = "";
  #intermediates = "";
  /** BEL ends an OSC, and no other string. */
  #isOsc = false;
  /** Digits of the console's palette that are still to come. */
  #digits = 0;

  constructor(handler: VtHandler) {
    this.#handler = handler;
  }

  /** No sequence is half read. */
  get isGround(): boolean {
    return this.#state === "ground";
  }

  push(text: string): void {
    for (let at = 0; at < text.length;) {
      if (this.#state === "ground") {
        textRun.lastIndex = at;
        const run = textRun.exec(text)?.[0];
        if (run !== undefined) {
          this.#handler.text(run);
          at += run.length;
          continue;
        }
      } else if (this.#state === "string") {
        stringEnd.lastIndex = at;
        const found = stringEnd.exec(text);
        if (found === null) return;
        at = found.index;
      }
      this.#character(text.charCodeAt(at), text.charAt(at));
      at++;
    }
  }

  #character(code: number, c: string): void {
    if (code === 0x1b) return this.#enterEscape();
    if (code === 0x18 || code === 0x1a) {
      // CAN and SUB break off whatever has begun.
      this.#state = "ground";
      return;
    }
    switch (this.#state) {
      case "string":
        if (code === 0x9c || (code === 0x07 && this.#isOsc)) this.#state = "ground";
        return;
      case "osc-start":
        this.#state = c === "P" ? "console-palette" : c === "R" ? "ground" : "string";
        this.#digits = 7;
        if (code === 0x07 || code === 0x9c) this.#state = "ground";
        return;
      case "console-palette":
        if (!/[0-9a-fA-F]/.test(c)) {
          this.#state = "ground";
          return this.#character(code, c);
        }
        if (--this.#digits === 0) this.#state = "ground";
        return;
      default:
        // Terminals act on control characters in the middle of a sequence.
        if (code < 0x20) return this.#handler.control(code);
        if (code === 0x7f) return;
        if (code >= 0x80 && code < 0xa0) return this.#c1(code);
        if (this.#state === "ground") return this.#handler.text(c);
        if (this.#state === "escape") return this.#inEscape(code, c);
        return this.#inCsi(code, c);
    }
  }

  /** The 8-bit form of an escape sequence, which terminals take in UTF-8 as well. */
  #c1(code: number): void {
    this.#enterEscape();
    this.#inEscape(code - 0x40, String.fromCharCode(code - 0x40));
  }

  #enterEscape(): void {
    this.#state = "escape";
    this.#prefix = this.#params = this.#intermediates = "";
  }

  #inEscape(code: number, c: string): void {
    if (code < 0x30) {
      if (this.#intermediates.length < MAX_INTERMEDIATES) this.#intermediates += c;
      return;
    }
    this.#state = "ground";
    if (code > 0x7e) return this.#handler.text(c);
    if (this.#intermediates !== "") return this.#handler.escape(this.#intermediates, c);
    switch (c) {
      case "[":
        this.#state = "csi";
        return;
      case "]":
        this.#state = "osc-start";
        this.#isOsc = true;
        return;
      // DCS, SOS, PM, APC, and the title of screen.
      case "P":
      case "X":
      case "^":
      case "_":
      case "k":
        this.#state = "string";
        this.#isOsc = false;
        return;
      default:
        this.#handler.escape("", c);
    }
  }

  #inCsi(code: number, c: string): void {
    if (code >= 0x40) {
      const isWhole = this.#state === "csi" && code <= 0x7e;
      this.#state = "ground";
      if (!isWhole) return;
      return this.#handler.csi({
        prefix: this.#prefix,
        params: this.#params,
        intermediates: this.#intermediates,
        final: c,
      });
    }
    if (code >= 0x3c) {
      if (this.#prefix + this.#params + this.#intermediates === "") this.#prefix = c;
      else this.#state = "csi-ignored";
    } else if (code >= 0x30) {
      if (this.#intermediates !== "" || this.#params.length >= MAX_PARAMS) {
        this.#state = "csi-ignored";
      } else this.#params += c;
    } else if (this.#intermediates.length < MAX_INTERMEDIATES) this.#intermediates += c;
    else this.#state = "csi-ignored";
  }
}

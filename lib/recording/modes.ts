/**
 * Follows the modes of a terminal (ECMA-48, DEC private modes, xterm's control sequences) through
 * output that nobody draws. It looks only at escape sequences: bulk output passes at the speed of
 * a memory search.
 */
import { Buffer } from "node:buffer";
import { utf8Encode } from "../base/bytes.ts";

const ESC = 0x1b;
const BEL = 0x07;
const MAX_PARAMETERS = 128;
const MAX_TITLE = 512;

/** Private modes of which one screen is chosen: their order among each other counts. */
const SCREEN_MODES = new Set([47, 1047, 1049]);
/** Not restored: cursor saving, synchronised output, 132 columns. */
const PASSING_MODES = new Set([3, 1048, 2026]);
/** Not kept without limit: a program may set modes that nobody knows. */
const MAX_MODES = 64;

type State =
  | "ground"
  | "escape"
  | "intermediate"
  | "csi"
  | "title"
  | "string"
  | "stringEscape";

export class ModeScanner {
  #state: State = "ground";
  #text = "";
  /** Private modes that were set (true) or reset, in the order of their last change. */
  #private = new Map<number, boolean>();
  #ansi = new Map<number, boolean>();
  #screen: { mode: number; on: boolean } | undefined;
  #isFullScreen = false;
  #wasReset = false;
  #region = "";
  #keypad = "";
  #charsets = new Map<string, string>();
  #title = "";
  #cursorStyle = "";

  /** The alternate screen is shown. */
  get isFullScreen(): boolean {
    return this.#isFullScreen;
  }

  /** No sequence is half read. */
  get isGround(): boolean {
    return this.#state === "ground";
  }

  /** Margins are set, or positions count from them: then they move the cursor when restored. */
  get hasMargins(): boolean {
    return this.#region !== "";
  }

  get hasOrigin(): boolean {
    return this.#private.get(6) === true;
  }

  /** First line within the margins, from 1. */
  get topMargin(): number {
    return Number(/\d+/.exec(this.#region)?.[0] ?? 1) || 1;
  }

  clone(): ModeScanner {
    const copy = new ModeScanner();
    copy.#state = this.#state;
    copy.#text = this.#text;
    copy.#private = new Map(this.#private);
    copy.#ansi = new Map(this.#ansi);
    copy.#screen = this.#screen;
    copy.#isFullScreen = this.#isFullScreen;
    copy.#wasReset = this.#wasReset;
    copy.#region = this.#region;
    copy.#keypad = this.#keypad;
    copy.#charsets = new Map(this.#charsets);
    copy.#title = this.#title;
    copy.#cursorStyle = this.#cursorStyle;
    return copy;
  }

  scan(bytes: Uint8Array): void {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let at = 0;
    while (at < bytes.length) {
      if (this.#state === "ground") {
        at = nextEscape(buffer, at);
        if (at < 0) return;
        const end = endOfPlainControl(bytes, at);
        if (end > 0) {
          at = end;
          continue;
        }
        this.#state = "escape";
        at++;
        continue;
      }
      if (this.#state === "string") at = stringEnd(buffer, at);
      if (at < bytes.length) this.#step(bytes[at++]!);
    }
  }

  /** A picture was drawn: which screen is shown, and that it was cleared, is in it. */
  drawn(): void {
    this.#wasReset = false;
    this.#screen = undefined;
  }

  /** Sets the terminal to these modes; `screen` says whether that includes which screen is shown. */
  replay(o: { screen: boolean }): Uint8Array {
    let text = this.#wasReset && o.screen ? "\x1bc" : "";
    if (o.screen && this.#screen) {
      text += `\x1b[?${this.#screen.mode}${this.#screen.on ? "h" : "l"}`;
    }
    for (const [mode, on] of this.#ansi) text += `\x1b[${mode}${on ? "h" : "l"}`;
    for (const [mode, on] of this.#private) {
      if (mode !== 6) text += `\x1b[?${mode}${on ? "h" : "l"}`;
    }
    text += this.#keypad + this.#cursorStyle;
    for (const [which, charset] of this.#charsets) text += `\x1b${which}${charset}`;
    if (this.#title !== "") text += `\x1b]2;${this.#title}\x07`;
    if (this.#region !== "") text += `\x1b[${this.#region}r`;
    const origin = this.#private.get(6);
    if (origin !== undefined) text += `\x1b[?6${origin ? "h" : "l"}`;
    return utf8Encode(text);
  }

  #step(byte: number): void {
    switch (this.#state) {
      case "escape":
        return this.#escape(byte);
      case "intermediate":
        return this.#intermediate(byte);
      case "csi":
        return this.#csi(byte);
      case "title":
        return this.#titleByte(byte);
      case "string":
        this.#state = byte === BEL ? "ground" : "stringEscape";
        return;
      case "stringEscape":
        // ESC \ ends it; any other sequence ends it as well, and begins.
        if (byte === 0x5c) this.#state = "ground";
        else this.#escape(byte);
        return;
      case "ground":
        return;
    }
  }

  #escape(byte: number): void {
    const c = String.fromCharCode(byte);
    this.#text = "";
    if (byte === ESC) this.#state = "escape";
    else if (c === "[") this.#state = "csi";
    else if (c === "]") this.#state = "title";
    else if ("PX^_".includes(c)) this.#state = "string";
    else if (byte >= 0x20 && byte <= 0x2f) {
      this.#text = c;
      this.#state = "intermediate";
    } else {
      this.#state = "ground";
      if (c === "c") this.#reset();
      if (c === "=" || c === ">") this.#keypad = `\x1b${c}`;
    }
  }

  #intermediate(byte: number): void {
    if (byte === ESC) {
      this.#state = "escape";
    } else if (byte >= 0x20 && byte <= 0x2f) {
      this.#text = "";
    } else {
      this.#state = "ground";
      if ("()*+".includes(this.#text) && this.#text !== "" && byte >= 0x30 && byte <= 0x7e) {
        this.#charsets.set(this.#text, String.fromCharCode(byte));
      }
    }
  }

  #csi(byte: number): void {
    if (byte === ESC) {
      this.#state = "escape";
      this.#text = "";
    } else if (byte >= 0x40 && byte <= 0x7e) {
      this.#state = "ground";
      this.#control(this.#text, String.fromCharCode(byte));
    } else if (byte === 0x18 || byte === 0x1a) {
      this.#state = "ground";
    } else if (byte >= 0x20 && this.#text.length < MAX_PARAMETERS) {
      this.#text += String.fromCharCode(byte);
    }
  }

  #control(parameters: string, final: string): void {
    if (final === "h" || final === "l") return this.#setModes(parameters, final === "h");
    if (final === "r" && /^[\d;]*$/.test(parameters)) {
      this.#region = /^(|0|1|0?;0?|1;0?)$/.test(parameters) ? "" : parameters;
    }
    if (final === "q" && /^\d* $/.test(parameters)) this.#cursorStyle = `\x1b[${parameters}q`;
    if (final === "p" && parameters === "!") this.#softReset();
  }

  #setModes(parameters: string, on: boolean): void {
    const isPrivate = parameters.startsWith("?");
    const numbers = (isPrivate ? parameters.slice(1) : parameters).split(";");
    for (const number of numbers) {
      if (!/^\d{1,5}$/.test(number)) continue;
      const mode = Number(number);
      if (!isPrivate) set(this.#ansi, mode, on);
      else if (SCREEN_MODES.has(mode)) this.#setScreen(mode, on);
      else if (!PASSING_MODES.has(mode)) set(this.#private, mode, on);
    }
  }

  #setScreen(mode: number, on: boolean): void {
    this.#screen = { mode, on };
    this.#isFullScreen = on;
  }

  #titleByte(byte: number): void {
    if (byte === BEL || byte === ESC) {
      const [, kind, title] = /^([02]);(.*)$/s.exec(this.#text) ?? [];
      if (kind !== undefined) this.#title = decodeTitle(title!);
      this.#text = "";
      this.#state = byte === BEL ? "ground" : "stringEscape";
    } else if (this.#text.length < MAX_TITLE) {
      this.#text += String.fromCharCode(byte);
    }
  }

  #softReset(): void {
    this.#private.clear();
    this.#ansi.clear();
    this.#charsets.clear();
    this.#region = "";
    this.#keypad = "\x1b>";
    // What a soft reset sets may have been otherwise before what was scanned.
    set(this.#private, 1, false);
    set(this.#private, 25, true);
    set(this.#ansi, 4, false);
  }

  #reset(): void {
    this.#private.clear();
    this.#ansi.clear();
    this.#charsets.clear();
    this.#region = "";
    this.#keypad = "";
    this.#cursorStyle = "";
    this.#screen = undefined;
    this.#isFullScreen = false;
    this.#wasReset = true;
  }
}

/** So many bytes are looked at one by one: a search by the runtime costs more to begin. */
const NEAR = 64;

function nextEscape(buffer: Buffer, at: number): number {
  const near = Math.min(buffer.length, at + NEAR);
  for (let i = at; i < near; i++) {
    if (buffer[i] === ESC) return i;
  }
  return near === buffer.length ? -1 : buffer.indexOf(ESC, near);
}

/**
 * End of a control sequence that is whole and sets no mode, such as a colour or a movement; 0 for
 * all others. Coloured output is full of them.
 */
function endOfPlainControl(bytes: Uint8Array, at: number): number {
  if (bytes[at + 1] !== 0x5b) return 0;
  let i = at + 2;
  while (i < bytes.length && bytes[i]! >= 0x20 && bytes[i]! <= 0x3f) i++;
  const final = bytes[i];
  if (final === undefined || final < 0x40 || final > 0x7e) return 0;
  return MODE_FINALS.has(final) ? 0 : i + 1;
}

/** h l p q r */
const MODE_FINALS = new Set([0x68, 0x6c, 0x70, 0x71, 0x72]);

/** Where a string control may end: at BEL, or ESC of what follows. */
function stringEnd(buffer: Buffer, at: number): number {
  const escape = buffer.indexOf(ESC, at);
  const bell = buffer.indexOf(BEL, at);
  if (escape < 0) return bell < 0 ? buffer.length : bell;
  return bell < 0 ? escape : Math.min(escape, bell);
}

function set(modes: Map<number, boolean>, mode: number, on: boolean): void {
  modes.delete(mode);
  if (modes.size < MAX_MODES) modes.set(mode, on);
}

/** The bytes of a title, with nothing in it that a terminal would act on. */
function decodeTitle(bytes: string): string {
  const text = new TextDecoder().decode(Uint8Array.from(bytes, (c) => c.charCodeAt(0)));
  // deno-lint-ignore no-control-regex
  return text.replace(/[\x00-\x1f\x7f-\x9f\ufffd]/g, "");
}

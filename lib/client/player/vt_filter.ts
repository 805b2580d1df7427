/**
 * What of a recording may reach the terminal of the one who watches it: text, and the sequences
 * below, which draw. Everything else is dropped, so that no recording makes the terminal answer
 * into the player's input (DSR, DA, DECRQSS, colour and title queries), reads or fills the
 * clipboard, changes what keys, mouse and pastes send, resizes or names windows, prints, beeps, or
 * wipes what the watcher has in the scrollback, or sets tabs, which no reset brings back.
 */
import { type ControlSequence, type VtHandler, VtParser } from "./vt_parser.ts";

/** Backspace, tab, line feeds, carriage return, shift out and in. */
const controls = new Set([0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f]);

/** Save and restore cursor, index, next line, reverse index, back and forward index. */
const escapes = new Set(["7", "8", "D", "E", "M", "6", "9"]);
/** Which characters G0 to G3 are. */
const charsets = new Set(["(", ")", "*", "+"]);
/** Double-height and double-width lines, alignment pattern. */
const lineSizes = new Set(["3", "4", "5", "6", "8"]);

/** Finals of sequences that only move the cursor, erase, insert, delete, scroll, repeat, colour. */
const drawing = new Set([..."ABCDEFGHIJKLMPSTXZ`abdefmrsu@"]);

/**
 * Private modes that draw: 5 reverse screen, 6 origin, 7 autowrap, 25 cursor, 47, 1047 and 1049
 * alternate screen, 69 left and right margins, 1048 saved cursor.
 */
const privateModes = new Set([5, 6, 7, 25, 47, 69, 1047, 1048, 1049]);
const alternateScreen = new Set([47, 1047, 1049]);
/** Insert mode. The other standard modes lock the keyboard or change what keys send. */
const modes = new Set([4]);

const MAX_NUMBER = 9999;
/** How often a character is repeated: no line is longer. */
const MAX_REPEAT = 999;
const MAX_NUMBERS = 32;

/** A terminal that has been reset, without what a hard reset does to the watcher's own. */
export const BLANK_SCREEN = "\x1b[?1049l\x1b[!p\x1b[?5l\x1b[?6l\x1b[?69l\x1b[?7h\x1b[r\x1b(B\x0f" +
  "\x1b[0m\x1b[H\x1b[2J";

export class VtFilter implements VtHandler {
  readonly #parser = new VtParser(this);
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  #passed: string[] = [];
  #alternate = false;
  #cursorSaved = false;

  /** What of these bytes may be drawn. A sequence that is not whole waits for its rest. */
  push(bytes: Uint8Array): string {
    this.#parser.push(this.#decoder.decode(bytes, { stream: true }));
    const passed = this.#passed.join("");
    this.#passed = [];
    return passed;
  }

  /** Nothing waits for its rest, but perhaps a character's bytes. */
  get isWhole(): boolean {
    return this.#parser.isGround;
  }

  /** The recorded program draws on the alternate screen. */
  get onAlternateScreen(): boolean {
    return this.#alternate;
  }

  /** The recorded program has saved the cursor and will want it back: it must not be saved anew. */
  get cursorIsSaved(): boolean {
    return this.#cursorSaved;
  }

  text(text: string): void {
    this.#passed.push(text);
  }

  control(code: number): void {
    if (controls.has(code)) this.#passed.push(String.fromCharCode(code));
  }

  escape(intermediates: string, final: string): void {
    if (intermediates === "") {
      if (final === "c") return this.#reset();
      if (!escapes.has(final)) return;
      if (final === "7" || final === "8") this.#cursorSaved = final === "7";
    } else if (intermediates === "#") {
      if (!lineSizes.has(final)) return;
    } else if (!charsets.has(intermediates)) return;
    this.#passed.push(`\x1b${intermediates}${final}`);
  }

  csi(sequence: ControlSequence): void {
    const allowed = this.#allowed(sequence);
    if (allowed === undefined) return;
    const { prefix, intermediates, final } = sequence;
    this.#passed.push(`\x1b[${prefix}${allowed}${intermediates}${final}`);
  }

  /** The parameters to let it pass with; undefined when it may not. */
  #allowed({ prefix, params, intermediates, final }: ControlSequence): string | undefined {
    if (final === "m" && prefix === "" && intermediates === "") {
      return params.length <= 128 ? params : undefined;
    }
    const numbers = parseNumbers(params);
    if (numbers === undefined) return undefined;
    const text = numbers.map((n) => n === undefined ? "" : String(n)).join(";");
    if (intermediates !== "") {
      return passesIntermediate(prefix + intermediates, final, numbers, text);
    }
    if (final === "h" || final === "l") {
      if (prefix !== "" && prefix !== "?") return undefined;
      return this.#modes(prefix === "?", numbers, final === "h");
    }
    // 3 erases the scrollback, which is the watcher's own.
    if (final === "J" && (numbers[0] ?? 0) > 2) return undefined;
    if (prefix === "?") return final === "J" || final === "K" ? text : undefined;
    if (prefix !== "" || !drawing.has(final)) return undefined;
    if (final === "b") return String(Math.min(numbers[0] ?? 1, MAX_REPEAT));
    // With more parameters it starts the tracking of the mouse.
    if (final === "T" && numbers.length > 1) return undefined;
    if (final === "s" && text === "" || final === "u") this.#cursorSaved = final === "s";
    return text;
  }

  /** Those of the modes that may be set. */
  #modes(isPrivate: boolean, numbers: readonly (number | undefined)[], on: boolean) {
    const passing = numbers.filter((n): n is number =>
      n !== undefined && (isPrivate ? privateModes : modes).has(n)
    );
    if (passing.length === 0) return undefined;
    if (isPrivate) {
      if (passing.some((n) => alternateScreen.has(n))) this.#alternate = on;
      if (passing.includes(1048)) this.#cursorSaved = on;
    }
    return passing.join(";");
  }

  #reset(): void {
    this.#alternate = this.#cursorSaved = false;
    this.#passed.push(BLANK_SCREEN);
  }
}

/** Soft reset, shape of the cursor, protected characters, columns and sideways scrolling. */
function passesIntermediate(
  intermediates: string,
  final: string,
  numbers: readonly (number | undefined)[],
  text: string,
): string | undefined {
  const what = intermediates + final;
  if (what === "!p") return "";
  if (what === " q") return (numbers[0] ?? 0) <= 6 ? text : undefined;
  return ['"q', "'}", "'~", " @", " A"].includes(what) ? text : undefined;
}

/** Undefined where a number is left out; the whole undefined when it cannot be meant. */
function parseNumbers(params: string): (number | undefined)[] | undefined {
  if (params === "") return [];
  const parts = params.split(";");
  if (parts.length > MAX_NUMBERS || params.includes(":")) return undefined;
  return parts.map((part) => part === "" ? undefined : Math.min(Number(part), MAX_NUMBER));
}

/**
 * What a session has shown, as lines of plain text: overwritten and erased characters are gone, as
 * on the screen, and so are colours. A program that draws all over the screen has no lines; what it
 * writes after each jump of the cursor becomes one.
 */
import { type ControlSequence, type VtHandler, VtParser } from "./vt_parser.ts";

/** Characters of a line; what is longer goes on in the next one. */
const MAX_COLUMNS = 32_768;
/** Columns that the cursor jumps to: no terminal is wider. */
const MAX_JUMP = 1000;
const TAB = 8;

const ascii = /^[\x20-\x7e]*$/;

export class PlainLines implements VtHandler {
  readonly #parser = new VtParser(this);
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  #done: string[] = [];
  /** A character a cell. */
  #cells: string[] = [];
  /** The line while nothing but ASCII was added to its end, as most are; then there are no cells. */
  #plain = "";
  #column = 0;

  /** The lines that these bytes complete. */
  push(bytes: Uint8Array): string[] {
    this.#parser.push(this.#decoder.decode(bytes, { stream: true }));
    return this.#done.splice(0);
  }

  /** The line that was begun, if there is one. */
  end(): string[] {
    this.#leaveLine();
    return this.#done.splice(0);
  }

  text(text: string): void {
    const isAtEnd = this.#cells.length === 0 && this.#column === this.#plain.length;
    if (isAtEnd && ascii.test(text)) return this.#append(text);
    for (const character of text) {
      if (this.#column >= MAX_COLUMNS) {
        this.#endLine();
        this.#column = 0;
      }
      this.#fillTo(this.#column);
      // Combining marks belong to the character before them.
      if (/^\p{M}$/u.test(character) && this.#column > 0) {
        const before = this.#line[this.#column - 1] ?? "";
        if (before.length < 32) this.#line[this.#column - 1] = before + character;
      } else this.#line[this.#column++] = character;
    }
  }

  #append(text: string): void {
    for (let at = 0; at < text.length;) {
      if (this.#column >= MAX_COLUMNS) {
        this.#endLine();
        this.#column = 0;
      }
      const part = text.slice(at, at + MAX_COLUMNS - this.#column);
      this.#plain += part;
      this.#column += part.length;
      at += part.length;
    }
  }

  control(code: number): void {
    switch (code) {
      case 0x08:
        this.#column = Math.max(0, this.#column - 1);
        break;
      case 0x09:
        this.#jumpTo(this.#column - this.#column % TAB + TAB);
        break;
      case 0x0a:
      case 0x0b:
      case 0x0c:
        this.#endLine();
        break;
      case 0x0d:
        this.#column = 0;
    }
  }

  escape(intermediates: string, final: string): void {
    if (intermediates !== "") return;
    if (final === "E") this.#column = 0;
    if (["E", "D", "M", "c"].includes(final)) this.#leaveLine();
  }

  csi({ prefix, params, intermediates, final }: ControlSequence): void {
    if (prefix !== "" || intermediates !== "") return;
    const [first, second] = params.split(";").map((text) => Number(text) || 0);
    const count = Math.min(first || 1, MAX_JUMP);
    switch (final) {
      case "C":
      case "a":
        this.#jumpTo(this.#column + count);
        break;
      case "D":
        this.#column = Math.max(0, this.#column - count);
        break;
      case "G":
      case "`":
        this.#jumpTo(count - 1);
        break;
      case "H":
      case "f":
        this.#leaveLine();
        this.#jumpTo((second || 1) - 1);
        break;
      case "A":
      case "B":
      case "E":
      case "F":
      case "d":
        this.#leaveLine();
        if (final === "E" || final === "F") this.#column = 0;
        break;
      case "J":
        // From the cursor on; anything more clears lines that have been given already.
        if ((first ?? 0) === 0) this.#line.length = Math.min(this.#line.length, this.#column);
        else this.#leaveLine();
        break;
      case "K":
        if ((first ?? 0) === 0) this.#line.length = Math.min(this.#line.length, this.#column);
        else if (first === 2) this.#line.length = 0;
        else this.#line.fill(" ", 0, this.#column + 1);
        break;
      case "P":
        this.#line.splice(this.#column, count);
        break;
      case "X":
        this.#line.fill(" ", this.#column, this.#column + count);
        break;
      case "@":
        if (this.#column < this.#line.length) {
          this.#line.splice(this.#column, 0, ...Array<string>(count).fill(" "));
          this.#line.length = Math.min(this.#line.length, MAX_COLUMNS);
        }
        break;
      case "b":
        if (this.#column > 0) this.text((this.#line[this.#column - 1] ?? " ").repeat(count));
    }
  }

  /** The cursor goes to another line. */
  #leaveLine(): void {
    if (this.#plain !== "" || this.#cells.length > 0) this.#endLine();
  }

  get #line(): string[] {
    if (this.#plain !== "") {
      this.#cells = [...this.#plain];
      this.#plain = "";
    }
    return this.#cells;
  }

  #endLine(): void {
    this.#done.push((this.#plain + this.#cells.join("")).trimEnd());
    this.#plain = "";
    this.#cells = [];
  }

  #jumpTo(column: number): void {
    // Text may have gone further; a jump may not.
    this.#column = Math.min(column, Math.max(this.#line.length, MAX_JUMP));
  }

  #fillTo(column: number): void {
    while (this.#line.length < column) this.#line.push(" ");
  }
}

/** The terminal that a recording is drawn on: what is written to it besides the recorded output. */
import { utf8Encode } from "../../base/bytes.ts";
import type { WindowSize } from "../node_session.ts";
import { BLANK_SCREEN, VtFilter } from "./vt_filter.ts";

export interface ScreenTerminal {
  write(bytes: Uint8Array): Promise<void>;
  size(): WindowSize;
}

/** A window larger than any screen, or too small to see anything, is not asked for. */
const MAX_SIDE = 1000;
const MIN_COLS = 20;
const MIN_ROWS = 2;

/** No mouse, focus or paste reports, the cursor visible and in its usual shape. */
const ORDINARY = "\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1004l\x1b[?1006l\x1b[?2004l" +
  "\x1b[4l\x1b[?25h\x1b[0 q";

export class PlayerScreen {
  readonly #terminal: ScreenTerminal;
  #filter = new VtFilter();
  #recorded: WindowSize;
  #asked: WindowSize | undefined;
  #stamp = "";
  /** The stamp may have been drawn over or scrolled away. */
  #stale = true;

  /** @param size of the recorded terminal at its start */
  constructor(terminal: ScreenTerminal, size: WindowSize) {
    this.#terminal = terminal;
    this.#recorded = size;
  }

  /** An empty screen of the recorded size, to begin with. */
  async clear(): Promise<void> {
    await this.replace(this.#recorded, new Uint8Array(0));
  }

  /** Shows a picture in place of what is there. */
  async replace(size: WindowSize, picture: Uint8Array): Promise<void> {
    this.#filter = new VtFilter();
    this.#recorded = size;
    await this.#write(this.#resizing() + BLANK_SCREEN + this.#filter.push(picture));
  }

  /** Draws recorded output. */
  async output(bytes: Uint8Array): Promise<void> {
    const text = this.#filter.push(bytes);
    if (text !== "") await this.#write(text);
  }

  async resize(size: WindowSize): Promise<void> {
    this.#recorded = size;
    await this.#write(this.#resizing());
  }

  /** Draws a line of the player's own at the top right. */
  async stamp(text: string): Promise<void> {
    const notice = this.#tooSmall();
    const shown = ` ${notice === undefined ? "" : `${notice}  `}${text} `;
    if (shown === this.#stamp && !this.#stale) return;
    // The terminal can keep one cursor position, and the recorded program needs it.
    if (this.#filter.cursorIsSaved) return;
    const { cols } = this.#terminal.size();
    const width = Math.max(this.#stamp.length, shown.length);
    const column = Math.max(1, cols - width + 1);
    this.#stamp = shown;
    await this.#write(
      `\x1b7\x1b[?6l\x1b[1;${column}H\x1b(B\x0f\x1b[0;7m${
        shown.padStart(Math.min(width, cols)).slice(-cols)
      }\x1b8`,
    );
    this.#stale = false;
  }

  /** What gives the terminal back as it was, on a new line below what was drawn. */
  restoring(): Uint8Array {
    const leave = this.#filter.onAlternateScreen ? "\x1b[?1049l" : "";
    return utf8Encode(
      `\x18${leave}\x1b[!p\x1b[?5l\x1b[?6l\x1b[?69l\x1b[?7h\x1b[r\x1b(B\x0f\x1b[0m${ORDINARY}\x1b[999;1H\r\n`,
    );
  }

  /** Says so when the recorded screen does not fit into the window here. */
  #tooSmall(): string | undefined {
    const { cols, rows } = this.#terminal.size();
    if (cols >= this.#recorded.cols && rows >= this.#recorded.rows) return undefined;
    return `recorded at ${this.#recorded.cols}x${this.#recorded.rows}, this window is ${cols}x${rows}`;
  }

  /** Asks the terminal for a window of the recorded size; many do not listen. */
  #resizing(): string {
    const cols = Math.min(MAX_SIDE, Math.max(MIN_COLS, this.#recorded.cols));
    const rows = Math.min(MAX_SIDE, Math.max(MIN_ROWS, this.#recorded.rows));
    const known = this.#asked ?? this.#terminal.size();
    this.#asked = { cols, rows };
    return known.cols === cols && known.rows === rows ? "" : `\x1b[8;${rows};${cols}t`;
  }

  async #write(text: string): Promise<void> {
    if (text === "") return;
    this.#stale = true;
    await this.#terminal.write(utf8Encode(text));
  }
}

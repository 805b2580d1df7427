/** One line on the terminal that tells how far a copy is. */
import { utf8Encode } from "../../lib/base/bytes.ts";
import { printable } from "../../lib/base/text.ts";
import { displayWidth } from "../../lib/cli/table.ts";

const intervalMs = 100;

interface FileProgress {
  path: string;
  done: number;
  size: number;
}

export class ProgressLine implements Disposable {
  #started = new Map<string, number>();
  #lastDrawn = 0;
  #isShown = false;

  /** undefined where stderr is no terminal. */
  static onTerminal(): ProgressLine | undefined {
    return Deno.stderr.isTerminal() ? new ProgressLine() : undefined;
  }

  show(file: FileProgress): void {
    const now = Date.now();
    const started = this.#started.get(file.path) ?? now;
    this.#started.set(file.path, started);
    const isDone = file.done >= file.size;
    if (!isDone && now - this.#lastDrawn < intervalMs) return;
    this.#lastDrawn = now;
    this.#draw(line(file, now - started, columns()));
    if (!isDone) return;
    this.#write("\n");
    this.#isShown = false;
    this.#started.delete(file.path);
  }

  /** Makes room for a message. */
  clear(): void {
    if (this.#isShown) this.#write("\r\x1b[K");
    this.#isShown = false;
  }

  [Symbol.dispose](): void {
    this.clear();
  }

  #draw(text: string): void {
    this.#write(`\r${text}\x1b[K`);
    this.#isShown = true;
  }

  #write(text: string): void {
    Deno.stderr.writeSync(utf8Encode(text));
  }
}

/** "name      45%   12.0MB  30.1MB/s  00:10", within so many columns. */
export function line({ path, done, size }: FileProgress, ms: number, width: number): string {
  const percent = size === 0 ? 100 : Math.min(100, Math.floor((done / size) * 100));
  const rate = ms > 0 ? (done / ms) * 1000 : 0;
  const seconds = done >= size ? ms / 1000 : rate > 0 ? (size - done) / rate : 0;
  const numbers = [
    `${percent}%`.padStart(4),
    bytes(done).padStart(8),
    `${bytes(rate)}/s`.padStart(10),
    clock(seconds),
  ].join(" ");
  const room = Math.max(8, width - numbers.length - 2);
  let name = printable(path.split("/").at(-1) || path);
  while (displayWidth(name) > room) name = name.slice(0, -1);
  return `${name}${" ".repeat(room - displayWidth(name))} ${numbers}`;
}

function bytes(count: number): string {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let value = count;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? Math.round(value) : value.toFixed(1)}${units[unit]}`;
}

function clock(seconds: number): string {
  const whole = Math.min(Math.round(seconds), 359_999);
  const two = (value: number) => String(value).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  return `${hours > 0 ? `${two(hours)}:` : ""}${two(Math.floor(whole / 60) % 60)}:${
    two(whole % 60)
  }`;
}

function columns(): number {
  try {
    return Math.max(40, Deno.consoleSize().columns);
  } catch {
    return 80;
  }
}

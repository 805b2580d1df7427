/** Where in a program's output something else may be written to the terminal. */
import { endsInside } from "./screen.ts";

/** A program that stops within a character or an escape sequence is not waited for longer. */
const PATIENCE_MS = 200;

export class Boundary {
  #isWithin = false;
  #waiting: (() => void)[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;

  /** The program has written this, and everybody has been sent it. */
  passed(chunk: Uint8Array): void {
    this.#isWithin = endsInside(chunk);
    if (this.#waiting.length > 0 && !this.#isWithin) this.flush();
  }

  /** Calls `act` as soon as the output is not within a character or an escape sequence. */
  whenWhole(act: () => void): void {
    if (!this.#isWithin) return act();
    this.#waiting.push(act);
    this.#timer ??= setTimeout(() => this.flush(), PATIENCE_MS);
  }

  /** Lets all that waits act now. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const act of this.#waiting.splice(0)) act();
  }
}

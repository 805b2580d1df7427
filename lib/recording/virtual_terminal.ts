/** A terminal without a window, used for one drawing after the other. */
import { concat, utf8Encode } from "../base/bytes.ts";
import type { ModeScanner } from "./modes.ts";

export interface DrawnSize {
  readonly cols: number;
  readonly rows: number;
}

/** Larger terminals are drawn as far as this: a size is only a number, cells are memory. */
const MAX_COLS = 1000;
const MAX_ROWS = 500;

/** What is used of @xterm/headless. */
interface Xterm {
  readonly buffer: { readonly active: { cursorX: number; cursorY: number } };
  resize(cols: number, rows: number): void;
  reset(): void;
  write(data: Uint8Array, done: () => void): void;
  loadAddon(addon: unknown): void;
}

interface Serializer {
  serialize(o: { scrollback: number }): string;
}

export class VirtualTerminal {
  #loaded: Promise<{ terminal: Xterm; serializer: Serializer }> | undefined;
  /** One drawing at a time. */
  #turn: Promise<unknown> = Promise.resolve();

  /**
   * Writes and resizes, then gives bytes that draw the result on a fresh terminal of that size, and
   * how long it took.
   *
   * @param modes as they are at the end: those that the serialiser does not know are added
   */
  draw(
    size: DrawnSize,
    steps: readonly (Uint8Array | DrawnSize)[],
    modes: ModeScanner,
  ): Promise<{ bytes: Uint8Array; ms: number }> {
    const drawing = this.#turn.then(() => this.#draw(size, steps, modes));
    this.#turn = drawing.catch(() => {});
    return drawing;
  }

  async #draw(
    size: DrawnSize,
    steps: readonly (Uint8Array | DrawnSize)[],
    modes: ModeScanner,
  ): Promise<{ bytes: Uint8Array; ms: number }> {
    const { terminal, serializer } = await (this.#loaded ??= load());
    const began = performance.now();
    terminal.reset();
    resize(terminal, size);
    for (const step of steps) {
      if (!(step instanceof Uint8Array)) resize(terminal, step);
      else if (step.length > 0) {
        await new Promise<void>((resolve) => terminal.write(step, resolve));
      }
    }
    const { cursorX, cursorY } = terminal.buffer.active;
    const picture = utf8Encode(serializer.serialize({ scrollback: 0 }));
    const rest = modes.replay({ screen: false });
    // Setting margins takes the cursor to the corner.
    const row = cursorY + 1 - (modes.hasOrigin ? modes.topMargin - 1 : 0);
    const moves = modes.hasMargins || modes.hasOrigin;
    const cursor = moves ? utf8Encode(`\x1b[${row};${cursorX + 1}H`) : new Uint8Array(0);
    return { bytes: concat(picture, rest, cursor), ms: performance.now() - began };
  }
}

function resize(terminal: Xterm, { cols, rows }: DrawnSize): void {
  const within = (n: number, max: number) => Math.min(Math.max(Math.trunc(n) || 1, 1), max);
  terminal.resize(within(cols, MAX_COLS), within(rows, MAX_ROWS));
}

/** Only when the first picture is wanted: most sessions are never joined. */
async function load(): Promise<{ terminal: Xterm; serializer: Serializer }> {
  const { Terminal } = await packageOf<{ Terminal: new (o: object) => Xterm }>(
    import("@xterm/headless"),
  );
  const { SerializeAddon } = await packageOf<{ SerializeAddon: new () => Serializer }>(
    import("@xterm/addon-serialize"),
  );
  const terminal = new Terminal({ scrollback: 0, allowProposedApi: true, logLevel: "off" });
  const serializer = new SerializeAddon();
  terminal.loadAddon(serializer);
  return { terminal, serializer };
}

/** These are CommonJS, whose exports are all in `default` for some loaders. */
async function packageOf<T>(loading: Promise<unknown>): Promise<T> {
  const loaded = await loading as T & { default?: T };
  return loaded.default ?? loaded;
}

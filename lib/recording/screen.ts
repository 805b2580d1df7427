/**
 * The screen of a running session, for those who join late. Output is only kept (at most 128 KiB
 * of it); it is drawn when somebody asks, or, at most once a second, when it would become too much.
 * What has to be dropped because it comes faster still is searched for changes of modes: the rest
 * of it has scrolled away.
 */
import { ModeScanner } from "./modes.ts";
import type { DrawnSize, VirtualTerminal } from "./virtual_terminal.ts";

/** Output that is kept for one session, bytes. */
const MAX_KEPT = 128 * 1024;
const FIRST_KEPT = 1024;
const ESC = 0x1b;
/** Between two drawings of one session for room, in milliseconds. */
const FOLD_EVERY_MS = 1_000;
/** A drawing for room costs at most one part in so many of the Worker's time. */
const FOLD_SHARE = 10;
const TYPICAL_FOLD_MS = 10;
/** Lines that fill the room within this time scroll away before anybody sees them drawn. */
const BULK_MS = 1_000;
/** Changes of the size that are kept with the output. */
const MAX_RESIZES = 64;

interface Resize extends DrawnSize {
  /** Before which byte of the kept output it was. */
  at: number;
}

/** Shared by the screens of one Worker, so that many busy sessions do not keep it from its work. */
export class FoldBudget {
  #nextAt = 0;

  take(): boolean {
    const now = performance.now();
    if (now < this.#nextAt) return false;
    // Until it is known what this one costs.
    this.#nextAt = now + TYPICAL_FOLD_MS * FOLD_SHARE;
    return true;
  }

  spent(ms: number): void {
    this.#nextAt = performance.now() + ms * FOLD_SHARE;
  }
}

/** What was drawn already, and the terminal's size then. */
interface Picture {
  readonly bytes: Uint8Array;
  readonly size: DrawnSize;
}

/** All that a drawing needs, as it was when it was asked for. */
interface Pose {
  readonly base: Promise<Picture>;
  /** Before the output; the changes of modes of what was dropped are to be made up for. */
  readonly lost: Uint8Array;
  readonly output: Uint8Array;
  readonly resizes: readonly Resize[];
  readonly size: DrawnSize;
  /** Modes at the end. */
  readonly modes: ModeScanner;
}

export class Screen {
  readonly #terminal: VirtualTerminal;
  readonly #budget: FoldBudget;
  #kept = new Uint8Array(0);
  #length = 0;
  #resizes: Resize[] = [];
  #size: DrawnSize;
  #base: Promise<Picture>;
  /** Modes as they were before the kept output. */
  #modes = new ModeScanner();
  /** Output was dropped since the last drawing. */
  #dropped = false;
  #foldedAt = -Infinity;
  #fullAt = performance.now();

  constructor(size: DrawnSize, terminal: VirtualTerminal, budget: FoldBudget) {
    this.#size = size;
    this.#base = Promise.resolve({ bytes: new Uint8Array(0), size });
    this.#terminal = terminal;
    this.#budget = budget;
  }

  output(bytes: Uint8Array): void {
    if (this.#length + bytes.length > MAX_KEPT) this.#makeRoom(bytes.length);
    this.#reserve(this.#length + bytes.length);
    this.#kept.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  resize({ cols, rows }: DrawnSize): void {
    this.#size = { cols, rows };
    const last = this.#resizes.at(-1);
    if (last?.at === this.#length) Object.assign(last, this.#size);
    else this.#resizes.push({ at: this.#length, ...this.#size });
    if (this.#resizes.length > MAX_RESIZES) this.#resizes.shift();
  }

  /** Bytes that draw it, as it is at this moment, on a fresh terminal of the present size. */
  async snapshot(): Promise<Uint8Array> {
    return (await this.#draw(this.#pose())).bytes;
  }

  #makeRoom(bytes: number): void {
    const now = performance.now();
    const isBulk = now - this.#fullAt < BULK_MS && !this.#isFullScreen();
    this.#fullAt = now;
    if (!isBulk && now - this.#foldedAt >= FOLD_EVERY_MS && this.#budget.take()) {
      this.#foldedAt = now;
      this.#fold();
    } else {
      this.#drop(Math.max(MAX_KEPT >> 1, bytes));
    }
  }

  #isFullScreen(): boolean {
    if (this.#modes.isFullScreen) return true;
    const kept = this.#kept.subarray(0, this.#length);
    for (let at = kept.indexOf(ESC); at >= 0; at = kept.indexOf(ESC, at + 1)) {
      // ESC [ ? 1049, 1047 or 47
      if (kept[at + 2] !== 0x3f) continue;
      const mode = String.fromCharCode(...kept.subarray(at + 3, at + 8));
      if (/^(?:10(?:47|49)|47)h/.test(mode)) return true;
    }
    return false;
  }

  /** Takes the kept output over into the picture. */
  #fold(): void {
    const pose = this.#pose();
    this.#base = this.#draw(pose).catch(() => pose.base);
    this.#kept = new Uint8Array(FIRST_KEPT);
    this.#length = 0;
    this.#resizes = [];
    this.#modes = pose.modes.clone();
    this.#modes.drawn();
    this.#dropped = false;
  }

  /** Forgets at least so many of the oldest bytes, up to where no sequence is cut. */
  #drop(bytes: number): void {
    let end = Math.min(bytes, this.#length);
    this.#modes.scan(this.#kept.subarray(0, end));
    while (end < this.#length && (!this.#modes.isGround || isContinuation(this.#kept[end]!))) {
      this.#modes.scan(this.#kept.subarray(end, end + 1));
      end++;
    }
    this.#kept.copyWithin(0, end, this.#length);
    this.#length -= end;
    this.#dropped = true;
    for (const resize of this.#resizes) resize.at = Math.max(0, resize.at - end);
  }

  #reserve(length: number): void {
    if (length <= this.#kept.length) return;
    let capacity = Math.max(FIRST_KEPT, this.#kept.length);
    while (capacity < length) capacity *= 2;
    const larger = new Uint8Array(capacity);
    larger.set(this.#kept.subarray(0, this.#length));
    this.#kept = larger;
  }

  #pose(): Pose {
    const output = this.#kept.slice(0, this.#length);
    const modes = this.#modes.clone();
    const lost = this.#dropped ? modes.replay({ screen: true }) : new Uint8Array(0);
    modes.scan(output);
    const resizes = this.#resizes.map((each) => ({ ...each }));
    return { base: this.#base, lost, output, resizes, size: this.#size, modes };
  }

  async #draw({ base, lost, output, resizes, size, modes }: Pose): Promise<Picture> {
    const began = await base;
    const steps: (Uint8Array | DrawnSize)[] = [began.bytes, lost];
    let at = 0;
    for (const { at: until, cols, rows } of resizes) {
      steps.push(output.subarray(at, until), { cols, rows });
      at = until;
    }
    steps.push(output.subarray(at));
    const { bytes, ms } = await this.#terminal.draw(began.size, steps, modes);
    this.#budget.spent(ms);
    return { bytes, size };
  }
}

function isContinuation(byte: number): boolean {
  return (byte & 0xc0) === 0x80;
}

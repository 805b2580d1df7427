/** Warns when the disk of the audit log gets full. */
import { statfs } from "node:fs";
import { promisify } from "node:util";
import { messageOf } from "../base/errors.ts";
import { log } from "../base/log.ts";

/** As Teleport has it: percent in use. */
export const ALERT_PERCENT = 90;
/** Below, the next warning is due again. */
const CALM_PERCENT = 88;
const CHECK_MS = 60_000;

export class DiskAlert {
  readonly #path: string;
  readonly #usedPercent: (path: string) => Promise<number>;
  readonly #timer: number;
  #isAlarmed = false;

  constructor(path: string, usedPercent = percentUsed) {
    this.#path = path;
    this.#usedPercent = usedPercent;
    this.#timer = setInterval(() => this.check(), CHECK_MS);
    Deno.unrefTimer(this.#timer);
    this.check();
  }

  /** Looks now. Never throws. */
  async check(): Promise<void> {
    let percent: number;
    try {
      percent = await this.#usedPercent(this.#path);
    } catch (e) {
      return log("audit").debug("The disk cannot be looked at", { error: messageOf(e) });
    }
    if (percent < CALM_PERCENT) this.#isAlarmed = false;
    if (percent < ALERT_PERCENT || this.#isAlarmed) return;
    this.#isAlarmed = true;
    log("audit").warn(
      "The disk of the audit log is nearly full: when it is, events wait at their hosts, which " +
        "then refuse sessions; make room",
      { path: this.#path, used: `${Math.floor(percent)} %` },
    );
  }

  close(): void {
    clearInterval(this.#timer);
  }
}

/** As df has it: of what unprivileged processes may use. */
async function percentUsed(path: string): Promise<number> {
  const { blocks, bfree, bavail } = await promisify(statfs)(path);
  const used = Number(blocks) - Number(bfree);
  return 100 * used / Math.max(1, used + Number(bavail));
}

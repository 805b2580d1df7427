import { must } from "./run.ts";

const STEP_MS = 30_000;

/** The codes of one user's authenticator, made by `oathtool`, each given out once only. */
export class Authenticator {
  #lastStep = 0;

  constructor(readonly secret: string) {}

  /**
   * The next code that the cluster has not seen. A code may be one step ahead of the clock, so two
   * are to be had at once; for a third one waits.
   */
  async code(): Promise<string> {
    const step = Math.max(Math.floor(Date.now() / STEP_MS), this.#lastStep + 1);
    const aheadMs = (step - 1) * STEP_MS - Date.now();
    if (aheadMs > 0) await new Promise((done) => setTimeout(done, aheadMs + 200));
    this.#lastStep = step;
    const when = new Date(step * STEP_MS).toISOString().replace("T", " ").replace(/\..*/, " UTC");
    const { stdout } = await must(["oathtool", "--totp", "-b", "--now", when, this.secret]);
    return stdout.trim();
  }
}

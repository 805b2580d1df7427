/** Whether a client lets the proxy use its agent. */

/**
 * A client says so with a session (`auth-agent-req@openssh.com`). One that opens none (`ssh -N`)
 * cannot say it, and is asked after so many milliseconds. It is not asked sooner, because ssh
 * without -A warns its user of a break-in when it is.
 */
const SILENCE_MS = 1_000;

export class AgentOffer {
  readonly #said = Promise.withResolvers<void>();
  readonly #timer: ReturnType<typeof setTimeout>;
  #state: "unsaid" | "offered" | "withheld" = "unsaid";

  constructor(silenceMs = SILENCE_MS) {
    this.#timer = setTimeout(() => this.#said.resolve(), silenceMs);
  }

  /** A session offers it. This counts, whatever other sessions do. */
  offer(): void {
    this.#say("offered");
  }

  /** A session began without it. */
  withhold(): void {
    if (this.#state === "unsaid") this.#say("withheld");
  }

  get isOffered(): boolean {
    return this.#state === "offered";
  }

  /** Resolves with whether the client may be asked, when it has said so, or said nothing. */
  async mayAsk(): Promise<boolean> {
    await this.#said.promise;
    return this.#state !== "withheld";
  }

  /** The connection has ended. */
  close(): void {
    clearTimeout(this.#timer);
    this.withhold();
  }

  #say(state: "offered" | "withheld"): void {
    this.#state = state;
    clearTimeout(this.#timer);
    this.#said.resolve();
  }
}

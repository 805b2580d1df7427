/** The user's ssh-agent, at the other end of a channel that the user's client has opened to it. */
import type { Buffer } from "node:buffer";
import type { Duplex } from "node:stream";
import { ConnectionProblem, messageOf } from "../../base/errors.ts";
import {
  type AgentAnswer,
  AgentFrames,
  type AgentIdentity,
  type AgentRequest,
  decodeAgentAnswer,
  encodeAgentRequest,
  frameAgentMessage,
  signFlags,
} from "../../sshwire/agent.ts";
import type { SignatureAlgorithm } from "../../sshwire/keys.ts";

/** An agent may ask its user to touch a key, or to confirm. Milliseconds. */
const TIMEOUT_MS = 60_000;

/** Only ever asked for what it holds and for signatures; close it by `using`. */
export class ForwardedAgent implements Disposable {
  readonly #stream: Duplex;
  readonly #frames = new AgentFrames();
  #waiting: PromiseWithResolvers<Uint8Array> | undefined;

  /** @param stream belongs to the agent from now on */
  constructor(stream: Duplex) {
    this.#stream = stream;
    stream.on("data", (chunk: Buffer) => this.#onData(chunk));
    stream.on("end", () => this.#fail("it hung up"));
    stream.on("close", () => this.#fail("it hung up"));
    stream.on("error", (error) => this.#fail(messageOf(error)));
  }

  /** @throws ConnectionProblem when it does not answer; so does sign() */
  async list(): Promise<AgentIdentity[]> {
    const answer = await this.#ask({ kind: "identities" });
    return answer.kind === "identities" ? answer.identities : [];
  }

  /**
   * @param blob what the agent holds: a certificate or a public key
   * @returns the whole signature blob
   */
  async sign(
    blob: Uint8Array,
    data: Uint8Array,
    algorithm: SignatureAlgorithm,
  ): Promise<Uint8Array> {
    const flags = signFlags(algorithm);
    const answer = await this.#ask({ kind: "sign", blob, data, flags });
    if (answer.kind === "signature") return answer.signature;
    throw new ConnectionProblem("your ssh-agent refused to sign");
  }

  [Symbol.dispose](): void {
    this.#stream.destroy();
  }

  async #ask(request: AgentRequest): Promise<AgentAnswer> {
    if (this.#stream.destroyed) throw problem("it hung up");
    const waiting = this.#waiting = Promise.withResolvers<Uint8Array>();
    const timer = setTimeout(() => this.#fail("it took too long"), TIMEOUT_MS);
    try {
      this.#stream.write(frameAgentMessage(encodeAgentRequest(request)));
      return decodeAgentAnswer(await waiting.promise);
    } catch (error) {
      this.#stream.destroy();
      throw error instanceof ConnectionProblem ? error : problem(messageOf(error));
    } finally {
      clearTimeout(timer);
      this.#waiting = undefined;
    }
  }

  #onData(chunk: Buffer): void {
    try {
      const [message, ...more] = this.#frames.push(chunk);
      if (message === undefined) return;
      if (!this.#waiting || more.length > 0) this.#fail("it said more than it was asked");
      else this.#waiting.resolve(message);
    } catch (error) {
      this.#fail(messageOf(error));
    }
  }

  #fail(why: string): void {
    this.#waiting?.reject(problem(why));
    this.#stream.destroy();
  }
}

function problem(why: string): ConnectionProblem {
  return new ConnectionProblem(`your ssh-agent did not answer: ${why}`);
}

/**
 * The user's running ssh-agent ($SSH_AUTH_SOCK): certificates go there at login, so that stock ssh,
 * git and others find them, and leave at logout.
 */
import { equalBytes } from "../base/bytes.ts";
import { ConnectionProblem, LimitExceeded, messageOf } from "../base/errors.ts";
import {
  type AgentAnswer,
  AgentFrames,
  type AgentIdentity,
  type AgentKey,
  type AgentRequest,
  decodeAgentAnswer,
  encodeAgentRequest,
  frameAgentMessage,
  signFlags,
} from "../sshwire/agent.ts";
import type { SignatureAlgorithm } from "../sshwire/keys.ts";
import { type ClientIdentity, endOf, userOf } from "./identity.ts";

const timeoutMs = 10_000;

/** One connection to an agent. Close it by `using`. */
export class Agent implements Disposable {
  readonly #conn: Deno.UnixConn;
  readonly #frames = new AgentFrames();

  private constructor(conn: Deno.UnixConn) {
    this.#conn = conn;
  }

  /** @throws ConnectionProblem when nobody listens there */
  static async connect(path: string): Promise<Agent> {
    try {
      return new Agent(await Deno.connect({ transport: "unix", path }));
    } catch (cause) {
      throw new ConnectionProblem(`Cannot reach the ssh-agent at ${path}: ${messageOf(cause)}`, {
        cause,
      });
    }
  }

  async list(): Promise<AgentIdentity[]> {
    const answer = await this.#ask({ kind: "identities" });
    return answer.kind === "identities" ? answer.identities : [];
  }

  /** false when the agent refuses, e.g. because it cannot hold certificates. */
  async add(identity: AgentKey): Promise<boolean> {
    return (await this.#ask({ kind: "add", identity })).kind === "success";
  }

  async remove(blob: Uint8Array): Promise<boolean> {
    return (await this.#ask({ kind: "remove", blob })).kind === "success";
  }

  /** The whole signature blob. @throws ConnectionProblem when the agent will not sign */
  async sign(
    blob: Uint8Array,
    data: Uint8Array,
    algorithm: SignatureAlgorithm,
  ): Promise<Uint8Array> {
    const answer = await this.#ask({ kind: "sign", blob, data, flags: signFlags(algorithm) });
    if (answer.kind === "signature") return answer.signature;
    throw new ConnectionProblem("The ssh-agent refused to sign");
  }

  [Symbol.dispose](): void {
    try {
      this.#conn.close();
    } catch {
      // The time limit closed it.
    }
  }

  async #ask(request: AgentRequest): Promise<AgentAnswer> {
    const timer = setTimeout(() => this[Symbol.dispose](), timeoutMs);
    try {
      const message = frameAgentMessage(encodeAgentRequest(request));
      for (let done = 0; done < message.length;) {
        done += await this.#conn.write(message.subarray(done));
      }
      return decodeAgentAnswer(await this.#readMessage());
    } catch (cause) {
      throw new ConnectionProblem(`The ssh-agent did not answer: ${messageOf(cause)}`, { cause });
    } finally {
      clearTimeout(timer);
    }
  }

  async #readMessage(): Promise<Uint8Array> {
    const buffer = new Uint8Array(16 * 1024);
    for (;;) {
      const n = await this.#conn.read(buffer);
      if (n === null) throw new ConnectionProblem("it hung up");
      const [message, ...more] = this.#frames.push(buffer.subarray(0, n));
      if (more.length > 0) throw new LimitExceeded("it said more than it was asked");
      if (message) return message;
    }
  }
}

/**
 * Puts a certificate into the agent, for as long as it is valid, in place of those of earlier
 * logins. An agent that cannot hold certificates, or is gone, is no reason to fail a login.
 */
export async function offerToAgent(
  path: string | undefined,
  identity: ClientIdentity,
  warn: (text: string) => void,
): Promise<void> {
  if (!path) return;
  try {
    using agent = await Agent.connect(path);
    await removeOurs(agent);
    const seconds = Math.floor((endOf(identity.certificate) - Date.now()) / 1000);
    const added = await agent.add({
      key: identity.key,
      certificate: identity.certificate,
      comment: `${commentStart}${userOf(identity.certificate)}`,
      ...(Number.isFinite(seconds) ? { lifetimeSeconds: Math.max(1, seconds) } : {}),
    });
    if (!added) {
      warn(
        "The ssh-agent cannot hold certificates, so only tsh and `tsh config` will use this one; " +
          "--no-use-local-ssh-agent leaves the agent alone",
      );
    }
  } catch (e) {
    warn(`${messageOf(e)}; the certificate was not added to it`);
  }
}

/** Takes what logins put there out of the agent; with `blob` only this certificate. */
export async function withdrawFromAgent(
  path: string | undefined,
  blob?: Uint8Array,
): Promise<void> {
  if (!path) return;
  try {
    using agent = await Agent.connect(path);
    await removeOurs(agent, blob);
  } catch {
    // No agent, nothing in it.
  }
}

const commentStart = "teleport:";

async function removeOurs(agent: Agent, blob?: Uint8Array): Promise<void> {
  for (const held of await agent.list()) {
    const ours = held.comment.startsWith(commentStart);
    if (ours && (blob === undefined || equalBytes(blob, held.blob))) await agent.remove(held.blob);
  }
}

/** User authentication at the client (RFC 4252 §7): keys and certificates, one after the other. */
import type { Buffer } from "node:buffer";
import { AccessDenied, ConnectionProblem, messageOf } from "../base/errors.ts";
import { printable } from "../base/text.ts";
import type { Certificate } from "../sshwire/certificate.ts";
import { WireReader, WireWriter } from "../sshwire/codec.ts";
import type { PrivateKey, PublicKey, SignatureAlgorithm } from "../sshwire/keys.ts";
import { signatureAlgorithms } from "../sshwire/keys.ts";
import { certificateAlgorithm } from "./algorithms.ts";
import { DISCONNECT, MSG, publicKeyRequest, serviceRequest } from "./messages.ts";
import { Disconnect } from "./transport.ts";

/** A key that somebody else holds, e.g. ssh-agent. */
export interface AgentSigner {
  readonly publicKey: PublicKey;
  /** The whole signature blob. */
  sign(data: Uint8Array, algorithm: SignatureAlgorithm): Promise<Uint8Array>;
}

export interface ClientCredential {
  key: PrivateKey | AgentSigner;
  /** Of this key. */
  certificate?: Certificate;
}

export interface ClientAuthOptions {
  username: string;
  credentials: readonly ClientCredential[];
  sessionId(): Uint8Array;
  send(payload: Uint8Array): void;
  onBanner?: ((text: string) => void) | undefined;
  succeed(): void;
  fail(error: Error): void;
}

const maxBanner = 8192;

export class ClientAuth {
  readonly #options: ClientAuthOptions;
  readonly #credentials: ClientCredential[];
  #serverAlgorithms: readonly string[] | undefined;
  #lastBanner = "";
  /** Whether the server owes an answer: without a question, none counts. */
  #isAsked = false;
  #isAccepted = false;
  #isDone = false;

  constructor(options: ClientAuthOptions) {
    this.#options = options;
    this.#credentials = [...options.credentials];
  }

  /**
   * After the key exchange. Neither the service nor the key is asked for first: the request with a
   * signature leaves at once, which saves two round trips.
   */
  start(): void {
    this.#options.send(serviceRequest("ssh-userauth"));
    this.#next();
  }

  onExtInfo(payload: Buffer): void {
    const fields = new WireReader(payload.subarray(1), "extension information");
    for (let left = Math.min(fields.u32(), 64); left > 0; left--) {
      const name = fields.utf8();
      const value = fields.utf8();
      if (name === "server-sig-algs") this.#serverAlgorithms = value.split(",");
    }
  }

  /** @throws Disconnect for what does not belong here */
  onMessage(type: number, payload: Buffer): void {
    const fields = new WireReader(payload.subarray(1), "authentication message");
    switch (type) {
      case MSG.SERVICE_ACCEPT:
        if (this.#isAccepted) break;
        this.#isAccepted = true;
        return;
      case MSG.USERAUTH_BANNER:
        return this.#onBanner(fields.utf8());
      case MSG.USERAUTH_FAILURE:
        if (!this.#isAsked || !this.#isAccepted) break;
        return this.#next();
      case MSG.USERAUTH_SUCCESS:
        if (!this.#isAsked || !this.#isAccepted) break;
        this.#isDone = true;
        return this.#options.succeed();
    }
    throw new Disconnect(DISCONNECT.PROTOCOL_ERROR, `Unexpected message ${type}`);
  }

  /** What the user should know when the server closed instead of answering. */
  get reason(): string | undefined {
    return this.#lastBanner || undefined;
  }

  stop(): void {
    this.#isDone = true;
  }

  #onBanner(text: string): void {
    const shown = printable(text.slice(0, maxBanner).replaceAll("\r\n", "\n"), { lines: true });
    this.#lastBanner = shown.trim();
    this.#options.onBanner?.(shown);
  }

  #next(): void {
    this.#isAsked = false;
    const credential = this.#credentials.shift();
    if (!credential) {
      const who = this.#options.credentials.length === 0
        ? "there is no key to show"
        : "the server refused";
      this.#options.fail(new AccessDenied(this.#lastBanner || `Access denied: ${who}`));
      return;
    }
    this.#ask(credential).catch((cause) => {
      if (this.#isDone) return;
      const message = `Cannot sign with the key: ${messageOf(cause)}`;
      if (this.#credentials.length > 0) this.#next();
      else this.#options.fail(new ConnectionProblem(message, { cause }));
    });
  }

  async #ask({ key, certificate }: ClientCredential): Promise<void> {
    const { username, sessionId, send } = this.#options;
    const algorithms = signatureAlgorithms[key.publicKey.type];
    const algorithm = algorithms.find((a) => this.#serverAlgorithms?.includes(a)) ?? algorithms[0]!;
    const name = certificate ? certificateAlgorithm(algorithm) : algorithm;
    const blob = certificate ? certificate.blob : key.publicKey.blob;
    const request = publicKeyRequest(username, name, blob, true).bytes();
    const signed = new WireWriter().string(sessionId()).raw(request).bytes();
    const signature = await key.sign(signed, algorithm);
    if (this.#isDone) return;
    this.#isAsked = true;
    send(new WireWriter().raw(request).string(signature).bytes());
  }
}

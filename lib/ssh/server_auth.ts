/**
 * User authentication at the server (RFC 4252): public keys and certificates, nothing else. A key
 * that was only offered never counts; what is authenticated is what the verified signature covers.
 */
import { Buffer } from "node:buffer";
import { AccessDenied, messageOf, TeleportError } from "../base/errors.ts";
import { log } from "../base/log.ts";
import { printable } from "../base/text.ts";
import { type Certificate, parseCertificate } from "../sshwire/certificate.ts";
import { WireReader, WireWriter } from "../sshwire/codec.ts";
import { parsePublicKey, type PublicKey, verifySignature } from "../sshwire/keys.ts";
import { type KeyAlgorithm, parseKeyAlgorithm } from "./algorithms.ts";
import { authBanner, authFailure, authKeyOk, DISCONNECT } from "./messages.ts";
import { Disconnect } from "./transport.ts";

export interface OfferedKey {
  key: PublicKey;
  certificate?: Certificate;
}

export interface ServerAuthOptions<I> {
  maxTries: number;
  sessionId(): Uint8Array;
  send(payload: Uint8Array): void;
  disconnect(reason: number, message: string): void;
  /** Whether a signature with this key is worth asking for. */
  offered(username: string, key: OfferedKey): boolean;
  /** After the proof of possession. Throws to refuse. */
  authenticate(username: string, key: OfferedKey): I | Promise<I>;
  /** Sends USERAUTH_SUCCESS and goes on. */
  succeed(username: string, identity: I): void;
  failed(username: string, message: string, key: OfferedKey | undefined): void;
}

const maxUsername = 255;
/** Keys that may be offered for each attempt that is allowed. */
const offersPerTry = 4;
/** Requests that may wait while one is being decided. */
const maxQueued = 8;

export class ServerAuth<I> {
  readonly #options: ServerAuthOptions<I>;
  #username: string | undefined;
  #failures = 0;
  #unsigned = 0;
  #sawNone = false;
  #queue: Buffer[] = [];
  #isBusy = false;
  #isDone = false;

  constructor(options: ServerAuthOptions<I>) {
    this.#options = options;
  }

  /** A USERAUTH_REQUEST. @throws Disconnect, BadParameter */
  onRequest(payload: Buffer): void {
    if (this.#isDone) return;
    if (this.#queue.length >= maxQueued) {
      throw new Disconnect(DISCONNECT.PROTOCOL_ERROR, "Too many authentication requests at once");
    }
    // A copy: it may have to wait.
    this.#queue.push(Buffer.from(payload));
    if (!this.#isBusy) this.#next();
  }

  /** The connection is gone, or closing. */
  stop(): void {
    this.#isDone = true;
    this.#queue = [];
  }

  #next(): void {
    while (!this.#isDone && !this.#isBusy) {
      const payload = this.#queue.shift();
      if (!payload) return;
      this.#handle(payload);
    }
  }

  #handle(payload: Buffer): void {
    const fields = new WireReader(payload.subarray(1), "authentication request");
    const username = fields.utf8();
    const service = fields.utf8();
    const method = fields.utf8();
    if (service !== "ssh-connection") {
      throw new Disconnect(DISCONNECT.SERVICE_NOT_AVAILABLE, "Only ssh-connection is served");
    }
    if (
      username.length === 0 || username.length > maxUsername || printable(username) !== username
    ) {
      throw new Disconnect(DISCONNECT.PROTOCOL_ERROR, "The user name cannot be used");
    }
    // What was granted or counted for one name must not serve another.
    this.#username ??= username;
    if (username !== this.#username) {
      throw new Disconnect(DISCONNECT.PROTOCOL_ERROR, "The user name may not change");
    }
    if (method === "publickey") return this.#onPublicKey(payload, username, fields);
    // "none" is how clients ask for the methods: once it is free.
    const isFree = method === "none" && !this.#sawNone;
    this.#sawNone = true;
    this.#refuse(
      username,
      isFree ? undefined : `Method ${printable(method.slice(0, 64))} is not served`,
    );
  }

  #onPublicKey(payload: Buffer, username: string, fields: WireReader): void {
    const isSigned = fields.bool();
    const name = fields.utf8();
    const blob = fields.string();
    const signedLength = payload.length - fields.remaining;
    const signature = isSigned ? fields.string() : undefined;
    fields.end();
    const algorithm = parseKeyAlgorithm(name);
    const key = algorithm && parseKey(blob, algorithm);
    if (!algorithm || !key) {
      return this.#refuse(username, "The key or its algorithm is not accepted");
    }
    if (!signature) return this.#onOffer(username, key, authKeyOk(name, blob));
    // RFC 4252 §7: string session identifier, then the request up to the signature.
    const signed = new WireWriter().string(this.#options.sessionId())
      .raw(payload.subarray(0, signedLength)).bytes();
    if (!verifySignature(key.key, signed, signature, [algorithm.signature])) {
      return this.#refuse(username, "The signature is wrong", key);
    }
    this.#isBusy = true;
    this.#decide(username, key);
  }

  /** A key without a signature: no attempt yet, since agents hold many keys; but not for ever. */
  #onOffer(username: string, key: OfferedKey, yes: Uint8Array): void {
    if (++this.#unsigned > this.#options.maxTries * offersPerTry) this.#giveUp();
    else if (this.#options.offered(username, key)) this.#options.send(yes);
    else this.#refuse(username, undefined);
  }

  async #decide(username: string, key: OfferedKey): Promise<void> {
    let identity: I;
    try {
      identity = await this.#options.authenticate(username, key);
    } catch (error) {
      if (!this.#isDone) this.#deny(username, key, error);
      return;
    }
    if (this.#isDone) return;
    this.stop();
    this.#options.succeed(username, identity);
  }

  #deny(username: string, key: OfferedKey, error: unknown): void {
    const message = error instanceof TeleportError && error.code !== "internal"
      ? error.message
      : "The server cannot check this now; try again later";
    if (!(error instanceof AccessDenied)) {
      log("ssh").warn("Authentication failed", { username, error: messageOf(error) });
    }
    this.#options.send(authBanner(`${printable(message)}\r\n`));
    this.#refuse(username, message, key);
    this.#isBusy = false;
    try {
      this.#next();
    } catch (error) {
      const reason = error instanceof Disconnect ? error.reason : DISCONNECT.PROTOCOL_ERROR;
      this.#options.disconnect(reason, messageOf(error));
    }
  }

  /** @param message undefined when it is no failed attempt */
  #refuse(username: string, message: string | undefined, key?: OfferedKey): void {
    if (key) this.#options.failed(username, message ?? "", key);
    if (message !== undefined && ++this.#failures >= this.#options.maxTries) {
      this.#giveUp();
    } else {
      this.#options.send(authFailure());
    }
  }

  #giveUp(): void {
    this.stop();
    this.#options.disconnect(DISCONNECT.NO_MORE_AUTH_METHODS, "Too many authentication failures");
  }
}

function parseKey(blob: Uint8Array, algorithm: KeyAlgorithm): OfferedKey | undefined {
  try {
    if (!algorithm.isCertificate) {
      const key = parsePublicKey(blob);
      return key.type === algorithm.blobType ? { key } : undefined;
    }
    const certificate = parseCertificate(blob);
    return certificate.algorithm === algorithm.blobType
      ? { key: certificate.key, certificate }
      : undefined;
  } catch {
    return undefined;
  }
}

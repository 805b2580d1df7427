/** Peers that say what no honest peer says, for the tests of the state machines. */
import { Buffer } from "node:buffer";
import { generateKeyPairSync } from "node:crypto";
import type { Duplex } from "node:stream";
import { parseCertificate } from "../sshwire/certificate.ts";
import { WireReader, WireWriter } from "../sshwire/codec.ts";
import type { PrivateKey, SignatureAlgorithm } from "../sshwire/keys.ts";
import { ciphers, compressions, hostKeyAlgorithms, kexAlgorithms, macs } from "./algorithms.ts";
import { Engine, type EngineHostKey } from "./internals.ts";
import { publicKeyRequest, serviceRequest } from "./messages.ts";
import { PlainReader } from "./packet_reader.ts";
import { PlainWriter } from "./packet_writer.ts";
import type { SshServer } from "./server.ts";
import { streamPair, type TestIdentity } from "./testing.ts";

const ident = "SSH-2.0-raw\r\n";

/** What both kinds of raw peers have: messages to wait for, and the end of the stream. */
abstract class Peer {
  readonly stream: Duplex;
  readonly #messages: Buffer[] = [];
  #isEnded = false;
  #wake: (() => void) | undefined;
  protected line: Buffer = Buffer.alloc(0);
  protected hasLine = false;

  constructor(stream: Duplex) {
    this.stream = stream;
    stream.on("error", () => {});
    stream.on("data", (chunk: Buffer) => this.#onData(chunk));
    for (const event of ["end", "close"]) {
      stream.on(event, () => {
        this.#isEnded = true;
        this.#wake?.();
      });
    }
  }

  /** The next message; undefined when the peer has closed. */
  async next(): Promise<Buffer | undefined> {
    for (;;) {
      const message = this.#messages.shift();
      if (message) return message;
      if (this.#isEnded) return undefined;
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  /** The next message of a type, others are skipped; undefined when the peer has closed. */
  async wait(type: number): Promise<Buffer | undefined> {
    for (;;) {
      const message = await this.next();
      if (!message || message[0] === type) return message;
    }
  }

  /** All that comes until the peer closes, as types. */
  async rest(): Promise<number[]> {
    const types: number[] = [];
    for (;;) {
      const message = await this.next();
      if (!message) return types;
      types.push(message[0]!);
    }
  }

  close(): void {
    this.stream.destroy();
  }

  protected push(message: Uint8Array): void {
    this.#messages.push(Buffer.from(message));
    this.#wake?.();
  }

  protected abstract onLine(line: Buffer): void;
  protected abstract onBytes(bytes: Buffer): void;

  #onData(chunk: Buffer): void {
    try {
      if (this.hasLine) return this.onBytes(chunk);
      this.line = Buffer.concat([this.line, chunk]);
      const end = this.line.indexOf(10) + 1;
      if (end === 0) return;
      this.hasLine = true;
      this.onLine(this.line.subarray(0, end));
      if (end < this.line.length) this.onBytes(Buffer.from(this.line.subarray(end)));
    } catch {
      this.stream.destroy();
    }
  }
}

/** Speaks in the clear only, packet by packet: for what comes before the first key exchange. */
export class PlainPeer extends Peer {
  readonly #writer = new PlainWriter(0, (size) => {
    const packet = new Uint8Array(size);
    queueMicrotask(() => this.stream.writable && this.stream.write(packet));
    return packet;
  });
  readonly #reader = new PlainReader(0, (payload) => void this.push(payload), { count: 0 });

  constructor(stream: Duplex, line = ident) {
    super(stream);
    stream.write(line);
  }

  send(payload: Uint8Array): void {
    this.#writer.send(payload);
  }

  protected onLine(): void {}

  protected onBytes(bytes: Buffer): void {
    this.#reader.decrypt(bytes, 0, bytes.length);
  }
}

/** A whole transport, and then whatever one likes. */
export class RawPeer extends Peer {
  readonly engine: Engine;
  readonly ready: Promise<void>;
  readonly #ready = Promise.withResolvers<void>();

  constructor(
    stream: Duplex,
    options: { hostKeys?: Map<string, EngineHostKey>; ident?: string } = {},
  ) {
    super(stream);
    this.ready = this.#ready.promise;
    this.ready.catch(() => {});
    this.engine = new Engine({
      ident: options.ident ?? "raw",
      algorithms: {
        kex: kexAlgorithms,
        serverHostKey: options.hostKeys ? [...options.hostKeys.keys()] : hostKeyAlgorithms,
        cipher: ciphers,
        mac: macs,
        compress: compressions,
      },
      ...(options.hostKeys && { hostKeys: options.hostKeys }),
      acceptHostKey: (algorithm, blob) => ({
        blob: parseCertificate(blob).key.blob,
        signatureAlgorithm: algorithm.replace("-cert-v01@openssh.com", ""),
      }),
      reserve: (size) => {
        const packet = new Uint8Array(size);
        queueMicrotask(() => this.stream.writable && this.stream.write(packet));
        return packet;
      },
      lent: { count: 0 },
      onMessage: (payload) => this.push(payload),
      onKeys: () => this.#ready.resolve(),
    });
    stream.on("close", () => {
      this.engine.close();
      this.#ready.reject(new Error("closed"));
    });
    this.engine.start();
  }

  send(payload: Uint8Array): void {
    this.engine.send(payload);
  }

  /** To where USERAUTH_REQUEST belongs. */
  async service(): Promise<void> {
    await this.ready;
    this.send(serviceRequest("ssh-userauth"));
    await this.wait(6);
  }

  /** A public key request, signed or changed as one likes. */
  authenticate(request: RawRequest): void {
    const {
      user = "alice",
      key,
      blob = key.publicKey.blob,
      algorithm = key.publicKey.type,
      signedAs = {},
    } = request;
    const message = publicKeyRequest(user, algorithm, blob, true).bytes();
    const signed = publicKeyRequest(
      signedAs.user ?? user,
      algorithm,
      signedAs.blob ?? blob,
      true,
    ).bytes();
    const sessionId = signedAs.sessionId ?? this.engine.sessionId;
    const data = new WireWriter().string(sessionId).raw(signed).bytes();
    const signature = request.signature ??
      (request.signer ?? key).sign(data, request.signatureAlgorithm);
    this.send(new WireWriter().raw(message).string(signature).bytes());
  }

  protected onLine(line: Buffer): void {
    this.engine.identify(line.toString("latin1").trimEnd());
  }

  protected onBytes(bytes: Buffer): void {
    this.engine.parse(bytes);
  }
}

export interface RawRequest {
  user?: string;
  key: PrivateKey;
  blob?: Uint8Array;
  algorithm?: string;
  signer?: PrivateKey;
  signatureAlgorithm?: SignatureAlgorithm;
  /** Instead of a signature that fits. */
  signature?: Uint8Array;
  /** What the signature is over, where it differs from what is sent. */
  signedAs?: { user?: string; blob?: Uint8Array; sessionId?: Uint8Array };
}

const address = { host: "127.0.0.1", port: 1 };

export function rawClient(server: SshServer<TestIdentity>): RawPeer {
  const [ours, theirs] = streamPair();
  server.accept(theirs, address, address);
  return new RawPeer(ours);
}

export function plainClient(server: SshServer<TestIdentity>, line?: string): PlainPeer {
  const [ours, theirs] = streamPair();
  server.accept(theirs, address, address);
  return new PlainPeer(ours, line);
}

export interface KexInitFields {
  kex?: string;
  hostKey?: string;
  cipher?: string;
  compress?: string;
  follows?: boolean;
}

/** A client's KEXINIT, strict unless told otherwise. */
export function kexInit(fields: KexInitFields = {}): Uint8Array {
  const {
    kex = "curve25519-sha256,kex-strict-c-v00@openssh.com",
    hostKey = "ssh-ed25519-cert-v01@openssh.com",
    cipher = "aes128-gcm@openssh.com",
    compress = "none",
    follows = false,
  } = fields;
  const writer = new WireWriter().u8(20).raw(crypto.getRandomValues(new Uint8Array(16)));
  for (const list of [kex, hostKey, cipher, cipher, macs.join(), macs.join(), compress, compress]) {
    writer.string(list);
  }
  return writer.string("").string("").bool(follows).u32(0).bytes();
}

/** KEX_ECDH_INIT with a public key; a good one of X25519 unless told otherwise. */
export function ecdhInit(key?: Uint8Array): Uint8Array {
  return new WireWriter().u8(30).string(key ?? x25519()).bytes();
}

function x25519(): Uint8Array {
  const { publicKey } = generateKeyPairSync("x25519");
  return publicKey.export({ type: "spki", format: "der" }).subarray(-32);
}

export interface SaidGoodbye {
  reason: number;
  text: string;
}

/** The fields of a DISCONNECT. */
export function readDisconnect(message: Uint8Array | undefined): SaidGoodbye | undefined {
  if (message?.[0] !== 1) return undefined;
  const reader = new WireReader(message.subarray(1));
  return { reason: reader.u32(), text: reader.utf8() };
}

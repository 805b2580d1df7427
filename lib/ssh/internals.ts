/**
 * The SSH transport (RFC 4253) by ssh2 1.17.0: identification, negotiation, key exchange, keys.
 * This file, and no other, touches what ssh2 does not document; `internals_test.ts` says which of
 * its insides must exist. Everything is changed on the one instance, nothing in the package.
 *
 * Why ssh2's own Server, Client and Channel are not used above it: its server closes a channel when
 * it should half-close it, refuses signals after EOF, loops for ever on a packet size of 0, cannot
 * read terminal modes, waits for authentications in the wrong order, and knows no certificates.
 * User authentication (RFC 4252) and channels (RFC 4254) are therefore ours.
 */
import { Buffer } from "node:buffer";
// Not "ssh2": the package's index also loads its client, its agent and its key generator.
import Ssh2Protocol from "ssh2/lib/protocol/Protocol.js";
import { firstNames, publicPointProblem } from "./kex_guard.ts";
import { GcmReader, type Lending, PacketReader, PlainReader } from "./packet_reader.ts";
import { GcmWriter, PacketWriter, PlainWriter, type Reserve } from "./packet_writer.ts";

/** Messages that the key exchange is made of. */
const KEXINIT = 20;
const NEWKEYS = 21;
const KEX_INIT = 30;
const KEX_REPLY = 31;

export interface Algorithms {
  kex: readonly string[];
  serverHostKey: readonly string[];
  cipher: readonly string[];
  mac: readonly string[];
  compress: readonly string[];
}

/** A host key as a server offers it, under one algorithm name. */
export interface EngineHostKey {
  /** K_S of RFC 4253 §8: the key's blob or the certificate's. */
  blob: Uint8Array;
  /** The signature's own name: the plain one, also for a certificate. */
  signatureAlgorithm: string;
  /** Returns the signature without its name. */
  sign(data: Uint8Array): Uint8Array;
}

/** What a client says to a server's host key: the key to check the signature with, and its name. */
export interface AcceptedHostKey {
  blob: Uint8Array;
  signatureAlgorithm: string;
}

export interface EngineOptions {
  /** After "SSH-2.0-". */
  ident: string;
  algorithms: Algorithms;
  /** For a server: algorithm name → key. */
  hostKeys?: Map<string, EngineHostKey>;
  /** For a client: throws to refuse. */
  acceptHostKey?(algorithm: string, blob: Uint8Array): AcceptedHostKey;
  /** Where packets are written to. */
  reserve: Reserve;
  /** Counts parts of what is being read that are kept. */
  lent: Lending;
  /** A message that does not belong to the key exchange. */
  onMessage(payload: Buffer): void;
  /** After every key exchange; nothing was sent with the new keys yet. */
  onKeys(first: boolean): void;
}

export interface Negotiated {
  kex: string;
  serverHostKey: string;
  cs: { cipher: string };
  sc: { cipher: string };
}

interface Ssh2KeyExchange {
  sessionID: Buffer | undefined;
  negotiated: Negotiated;
  remoteExtInfoEnabled: boolean;
  getPublicKey(): Buffer;
  computeSecret(theirs: Buffer): Buffer | Error;
  _hostKey: Buffer | undefined;
}

interface Ssh2Instance {
  start(): void;
  parse(chunk: Uint8Array, from: number, to: number): void;
  rekey(): void;
  cleanup(): void;
  _server: boolean;
  _kex: Ssh2KeyExchange | undefined;
  _kexinit: Buffer | undefined;
  _offer: { lists: Record<"kex" | "serverHostKey", { array: string[] }> };
  _strictMode: boolean | undefined;
  _remoteIdentRaw: Buffer | undefined;
  _skipNextInboundPacket: boolean;
  _onPayload(payload: Buffer): undefined | false | number;
  _cipher: unknown;
  _decipher: unknown;
  _destruct: unknown;
}

/** Makes ssh2 send our KEXINIT, which it does when it has a line; the true one is set afterwards. */
const placeholder = Buffer.from("SSH-2.0-unknown\r\n");

/** A failure of the transport, with the reason code for DISCONNECT (RFC 4253 §11.1). */
export class TransportFailure extends Error {
  constructor(message: string, readonly reason = 2, options?: { cause?: unknown }) {
    super(message, options);
  }
}

export class Engine {
  readonly #ssh2: Ssh2Instance;
  readonly #options: EngineOptions;
  readonly #isServer: boolean;
  #writer: PacketWriter;
  #reader: PacketReader | undefined;
  #failure: unknown;
  #exchanges = 0;
  /** Bytes that went under keys which are no longer in use. */
  #bytesBefore = 0;
  /** Between their KEXINIT and their NEWKEYS. */
  #peerInKex = false;
  #peerWantsExtInfo = false;
  #packetLimit: number | undefined;
  #closed = false;

  constructor(options: EngineOptions) {
    this.#options = options;
    this.#isServer = options.hostKeys !== undefined;
    const { kex, serverHostKey, cipher, mac, compress } = options.algorithms;
    const direction = { cipher: [...cipher], mac: [...mac], compress: [...compress], lang: [] };
    this.#ssh2 = new Ssh2Protocol({
      server: this.#isServer,
      ident: options.ident,
      // ssh2 adds ext-info-c and the marks of strict key exchange.
      offer: { kex: [...kex], serverHostKey: [...serverHostKey], cs: direction, sc: direction },
      hostKeys: this.#hostKeyObjects(),
      hostVerifier: (blob: Buffer) => this.#verifyHost(blob),
      onWrite: (data: Uint8Array) => this.write(data),
      onError: (error: Error) => this.#failure ??= error,
      onHandshakeComplete: () => this.#onKeys(),
      messageHandlers: {},
    }) as Ssh2Instance;
    this.#writer = new PlainWriter(0, options.reserve);
    this.#takeCiphers();
  }

  /**
   * Writes the identification line, and at a client our KEXINIT right behind it: nobody needs to
   * know the peer's line for that, and it saves a round trip.
   */
  start(): void {
    this.#ssh2.start();
    if (!this.#isServer) this.#ssh2.parse(placeholder, 0, placeholder.length);
  }

  /** The peer's identification line without its end. A server's KEXINIT leaves now. */
  identify(line: string): void {
    if (this.#isServer) this.#ssh2.parse(placeholder, 0, placeholder.length);
    // Read when the exchange hash is made. ssh2 would not keep bytes above 127 as they were.
    this.#ssh2._remoteIdentRaw = Buffer.from(line, "latin1");
  }

  /** Writes bytes that are no packet. */
  write(bytes: Uint8Array): void {
    this.#options.reserve(bytes.length).set(bytes);
  }

  /**
   * Feeds bytes that follow the peer's identification line.
   * @throws what onMessage() threw, or TransportFailure; the engine is of no use afterwards
   */
  parse(chunk: Uint8Array): void {
    const failure = this.#guard(() => this.#ssh2.parse(chunk, 0, chunk.length));
    if (failure) throw failure;
  }

  /** Sends a message, unless a key exchange is under way: see `canSend`. */
  send(head: Uint8Array, tail?: Uint8Array): void {
    if (!this.#closed) this.#writer.send(head, tail);
  }

  /** False between our KEXINIT and the new keys, when only messages below 50 may be sent. */
  get canSend(): boolean {
    return this.#exchanges > 0 && this.#ssh2._kexinit === undefined;
  }

  /** True between the peer's KEXINIT and its NEWKEYS. */
  get peerInKex(): boolean {
    return this.#peerInKex;
  }

  get exchanges(): number {
    return this.#exchanges;
  }

  rekey(): void {
    if (this.canSend && !this.#closed) this.#ssh2.rekey();
  }

  /** The exchange hash of the first key exchange. */
  get sessionId(): Uint8Array {
    const id = this.#ssh2._kex?.sessionID;
    if (!id) throw new TransportFailure("No key exchange was made");
    return id;
  }

  get negotiated(): Negotiated | undefined {
    return this.#ssh2._kex?.negotiated;
  }

  get strict(): boolean {
    return this.#ssh2._strictMode === true;
  }

  get peerWantsExtInfo(): boolean {
    return this.#peerWantsExtInfo;
  }

  /** Payload bytes in both directions since the beginning. */
  get totalBytes(): number {
    return this.#bytesBefore + this.volume.bytes;
  }

  /** Payload bytes and packets in both directions since the last key exchange. */
  get volume(): { bytes: number; packets: number } {
    const reader = this.#reader;
    return {
      bytes: this.#writer.bytes + (reader?.bytes ?? 0),
      packets: Math.max(this.#writer.packets, reader?.packets ?? 0),
    };
  }

  /** The number of the last packet received, for UNIMPLEMENTED. */
  get lastSequenceNumber(): number {
    return ((this.#reader?.inSeqno ?? 1) - 1) >>> 0;
  }

  /** Sets the largest packet that is accepted from now on. */
  set packetLimit(bytes: number) {
    this.#packetLimit = bytes;
    if (this.#reader) this.#reader.limit = bytes;
  }

  close(): void {
    this.#closed = true;
    if (this.#ssh2._destruct) this.#ssh2.cleanup();
  }

  /** ssh2 reports some failures by a callback, others by throwing. */
  #guard(run: () => void): unknown {
    try {
      run();
    } catch (error) {
      this.#failure ??= error;
    }
    const failure = this.#failure;
    if (!failure) return undefined;
    return failure instanceof TransportFailure || this.#thrownByOthers.has(failure as object)
      ? failure
      : new TransportFailure(failure instanceof Error ? failure.message : String(failure), 3);
  }

  readonly #thrownByOthers = new WeakSet<object>();

  /** Puts our packet ciphers in the place of ssh2's, whenever it makes new ones. */
  #takeCiphers(): void {
    Object.defineProperties(this.#ssh2, {
      _cipher: {
        get: () => this.#writer,
        set: (made: Ssh2GcmCipher) => {
          this.#bytesBefore += this.#writer.bytes;
          this.#writer = new GcmWriter(made.outSeqno, this.#options.reserve, {
            name: made._encSSLName,
            key: made._encKey,
            iv: made._encIV,
          });
        },
      },
      _decipher: {
        get: () => this.#reader,
        set: (made: Ssh2NullDecipher | Ssh2GcmDecipher) => {
          this.#bytesBefore += this.#reader?.bytes ?? 0;
          this.#reader = "_decipherKey" in made
            ? new GcmReader(made.inSeqno, made._onPayload, this.#options.lent, {
              name: made._decipherSSLName,
              key: made._decipherKey,
              iv: made._decipherIV,
            })
            : new PlainReader(made.inSeqno, made._onPayload, this.#options.lent);
          if (this.#packetLimit !== undefined) this.#reader.limit = this.#packetLimit;
          this.#watch(this.#reader);
        },
      },
    });
  }

  /** Puts our eyes between a reader and ssh2, which swaps the receiver of payloads on rekeying. */
  #watch(reader: PacketReader): void {
    let receiver = reader._onPayload;
    const watched = (payload: Buffer) => this.#onPayload(payload, receiver);
    Object.defineProperty(reader, "_onPayload", {
      get: () => watched,
      set: (swapped: typeof receiver) => receiver = swapped,
    });
  }

  #onPayload(
    payload: Buffer,
    toSsh2: (payload: Buffer) => undefined | false | number,
  ): undefined | false | number {
    if (this.#closed || this.#failure) return Infinity;
    const type = payload[0]!;
    const first = this.#exchanges === 0;
    if (type === 1 || (type <= 4 && !first)) return this.#deliver(payload);
    if (first || this.#peerInKex || type === KEXINIT) {
      // ssh2 refuses whatever does not belong here, in strict mode also 2, 3 and 4 (the first time).
      return this.#onKexPayload(type, payload, toSsh2);
    }
    if (type >= NEWKEYS && type < 50) {
      throw new TransportFailure(`Message ${type} outside of a key exchange`);
    }
    return this.#deliver(payload);
  }

  #deliver(payload: Buffer): undefined | number {
    try {
      this.#options.onMessage(payload);
    } catch (error) {
      if (error instanceof Error) this.#thrownByOthers.add(error);
      throw error;
    }
    return this.#closed ? Infinity : undefined;
  }

  #onKexPayload(
    type: number,
    payload: Buffer,
    toSsh2: (payload: Buffer) => undefined | false | number,
  ): undefined | false | number {
    const ssh2 = this.#ssh2;
    // ssh2 keeps parts of these until the exchange is over.
    this.#options.lent.count++;
    if (this.#exchanges === 0 && this.#reader?.inSeqno === 0) {
      throw new TransportFailure("Sequence number wrapped in the first key exchange", 3);
    }
    if (type > KEXINIT && !ssh2._kex) {
      throw new TransportFailure(`Message ${type} before KEXINIT`, 3);
    }
    const skipped = ssh2._skipNextInboundPacket;
    if (type === KEX_INIT || type === KEX_REPLY) this.#prepareExchange(payload, skipped);
    if (type === KEXINIT) {
      if (this.#peerInKex) throw new TransportFailure("KEXINIT during a key exchange", 3);
      this.#peerInKex = true;
    }
    // Their NEWKEYS ends their part; ssh2 makes the new reader before it returns.
    if (type === NEWKEYS && !skipped) this.#peerInKex = false;
    const result = toSsh2(payload);
    if (type === KEXINIT && ssh2._kex) this.#afterKexInit(payload, ssh2._kex);
    return result;
  }

  #afterKexInit(payload: Buffer, kex: Ssh2KeyExchange): void {
    this.#peerWantsExtInfo ||= kex.remoteExtInfoEnabled;
    // ssh2's own EXT_INFO names ssh-rsa and ssh-dss and lacks a comma before rsa-sha2-512.
    kex.remoteExtInfoEnabled = false;
    // ssh2 forgets that a wrong guess of the host key algorithm also voids the next packet (§7.1).
    const theirs = firstNames(payload);
    const ours = this.#ssh2._offer.lists;
    this.#ssh2._skipNextInboundPacket = theirs.follows &&
      (theirs.kex !== ours.kex.array[0] || theirs.hostKey !== ours.serverHostKey.array[0]);
    const compute = kex.computeSecret.bind(kex);
    kex.computeSecret = (theirKey: Buffer) => {
      // Deno 2.4.2 aborts the process on a point that is not on the curve, and computes zero from a
      // point of low order, which RFC 8731 §3 forbids.
      const problem = publicPointProblem(kex.negotiated.kex, theirKey);
      if (problem) return new Error(problem);
      const secret = compute(theirKey);
      return secret instanceof Error || secret.length > 0 ? secret : new Error("Low-order point");
    };
  }

  #prepareExchange(payload: Buffer, skipped: boolean): void {
    const kex = this.#ssh2._kex;
    if (!kex || skipped || this.#isServer || payload[0] !== KEX_REPLY) return;
    // ssh2 compares the negotiated name with the blob's; for RSA certificates these differ.
    this.#negotiatedHostKey = kex.negotiated.serverHostKey;
    const rsa = /^rsa-sha2-(?:256|512)(-cert-v01@openssh\.com)$/.exec(this.#negotiatedHostKey);
    if (rsa) kex.negotiated.serverHostKey = `ssh-rsa${rsa[1]}`;
  }

  #negotiatedHostKey = "";

  /**
   * At a client, when the host key was read and before ssh2 uses it. The hash covers the blob that
   * was sent (the certificate), the signature is checked with the certified key: getPublicKey() is
   * what ssh2 calls between the two.
   */
  #verifyHost(blob: Buffer): boolean {
    const kex = this.#ssh2._kex;
    if (!kex || !this.#options.acceptHostKey) return false;
    let accepted: AcceptedHostKey;
    try {
      accepted = this.#options.acceptHostKey(this.#negotiatedHostKey, blob);
    } catch (error) {
      this.#failure = error;
      if (error instanceof Error) this.#thrownByOthers.add(error);
      return false;
    }
    kex.negotiated.serverHostKey = accepted.signatureAlgorithm;
    const getPublicKey = kex.getPublicKey.bind(kex);
    kex.getPublicKey = () => {
      kex._hostKey = Buffer.from(accepted.blob);
      return getPublicKey();
    };
    return true;
  }

  /** Objects with the parts of ssh2's private keys that its key exchange uses; the key stays here. */
  #hostKeyObjects(): Record<string, unknown> | undefined {
    if (!this.#options.hostKeys) return undefined;
    const objects: Record<string, unknown> = Object.create(null);
    for (const [algorithm, key] of this.#options.hostKeys) {
      const blob = Buffer.from(key.blob);
      objects[algorithm] = {
        // ssh2 would convert an ECDSA signature from ASN.1 if it knew the type.
        type: algorithm.includes("-cert-") ? algorithm : `ours:${algorithm}`,
        getPublicSSH: () => blob,
        sign: (data: Uint8Array) => {
          const signature = key.sign(data);
          // ssh2 reads the signature's name after this call, and takes the certificate's.
          const kex = this.#ssh2._kex;
          if (kex) kex.negotiated.serverHostKey = key.signatureAlgorithm;
          return Buffer.from(signature);
        },
      };
    }
    return objects;
  }

  #onKeys(): void {
    this.#exchanges++;
    this.#peerInKex = false;
    try {
      this.#options.onKeys(this.#exchanges === 1);
    } catch (error) {
      if (error instanceof Error) this.#thrownByOthers.add(error);
      throw error;
    }
  }
}

interface Ssh2GcmCipher {
  outSeqno: number;
  _encSSLName: "aes-128-gcm" | "aes-256-gcm";
  _encKey: Uint8Array;
  _encIV: Uint8Array;
}

interface Ssh2NullDecipher {
  inSeqno: number;
  _onPayload(payload: Buffer): undefined | false | number;
}

interface Ssh2GcmDecipher extends Ssh2NullDecipher {
  _decipherSSLName: "aes-128-gcm" | "aes-256-gcm";
  _decipherKey: Uint8Array;
  _decipherIV: Uint8Array;
}

/**
 * AES-GCM by the system's OpenSSL (libcrypto), where there is one and the program may use it: a
 * packet of 32 KiB takes 11 µs and leaves nothing to collect, where node:crypto of Deno 2.4.2 takes
 * 50 µs and makes a stream object and two buffers. Without it everything works, only slower.
 *
 * Only functions that OpenSSL has kept since 1.0.1 are used, and what they do is compared with
 * node:crypto before the first use. Memory: a buffer is only ever written within its own length.
 */
import { createCipheriv } from "node:crypto";
import { equalBytes } from "../base/bytes.ts";
import { messageOf } from "../base/errors.ts";
import { log } from "../base/log.ts";

export type GcmName = "aes-128-gcm" | "aes-256-gcm";
export const gcmTagLength = 16;
/** RFC 5647 §7.1: the packet's length, which is not encrypted. */
export const gcmAadLength = 4;

/** One key in one direction. */
export interface GcmContext {
  /** Encrypts `frame` in place: additional data (4 bytes), text, room for the tag (16 bytes). */
  seal(iv: Uint8Array, frame: Uint8Array): void;
  /** Decrypts in place; false when the frame is not authentic, and then it must not be used. */
  open(iv: Uint8Array, frame: Uint8Array): boolean;
  free(): void;
}

const symbols = {
  EVP_aes_128_gcm: { parameters: [], result: "pointer" },
  EVP_aes_256_gcm: { parameters: [], result: "pointer" },
  EVP_CIPHER_CTX_new: { parameters: [], result: "pointer" },
  EVP_CIPHER_CTX_free: { parameters: ["pointer"], result: "void" },
  EVP_CipherInit_ex: {
    parameters: ["pointer", "pointer", "pointer", "buffer", "buffer", "i32"],
    result: "i32",
  },
  EVP_CipherUpdate: { parameters: ["pointer", "buffer", "buffer", "buffer", "i32"], result: "i32" },
  EVP_CipherFinal_ex: { parameters: ["pointer", "buffer", "buffer"], result: "i32" },
  EVP_CIPHER_CTX_ctrl: { parameters: ["pointer", "i32", "i32", "buffer"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

type Libcrypto = Deno.DynamicLibrary<typeof symbols>["symbols"];

/** EVP_CTRL_AEAD_GET_TAG and _SET_TAG. */
const GET_TAG = 0x10;
const SET_TAG = 0x11;
const ENCRYPT = 1;
const DECRYPT = 0;
/** What EVP_CipherInit_ex() takes for "as before". */
const SAME = -1;

const sonames = ["libcrypto.so.3", "libcrypto.so.1.1"];

/** undefined where OpenSSL cannot be used. */
export function libcryptoGcm(
  name: GcmName,
  key: Uint8Array,
  direction: "seal" | "open",
): GcmContext | undefined {
  return libcrypto && new OpensslGcm(libcrypto, name, key, direction);
}

class OpensslGcm implements GcmContext {
  readonly #lib: Libcrypto;
  #context: Deno.PointerValue;

  constructor(lib: Libcrypto, name: GcmName, key: Uint8Array, direction: "seal" | "open") {
    const cipher = name === "aes-128-gcm" ? lib.EVP_aes_128_gcm() : lib.EVP_aes_256_gcm();
    if (key.length !== (name === "aes-128-gcm" ? 16 : 32)) throw new Error("Bad key length");
    this.#lib = lib;
    this.#context = lib.EVP_CIPHER_CTX_new();
    if (this.#context === null) throw new Error("OpenSSL is out of memory");
    const way = direction === "seal" ? ENCRYPT : DECRYPT;
    const done = lib.EVP_CipherInit_ex(this.#context, cipher, null, buffer(key), null, way);
    if (done !== 1) {
      this.free();
      throw new Error("OpenSSL does not take the key");
    }
  }

  seal(iv: Uint8Array, frame: Uint8Array): void {
    const tag = this.#cipher(iv, frame);
    if (
      this.#lib.EVP_CipherFinal_ex(this.#context, buffer(tag), length) !== 1 ||
      this.#lib.EVP_CIPHER_CTX_ctrl(this.#context, GET_TAG, gcmTagLength, buffer(tag)) !== 1
    ) throw new Error("OpenSSL cannot encrypt");
  }

  open(iv: Uint8Array, frame: Uint8Array): boolean {
    const tag = this.#cipher(iv, frame);
    if (this.#lib.EVP_CIPHER_CTX_ctrl(this.#context, SET_TAG, gcmTagLength, buffer(tag)) !== 1) {
      throw new Error("OpenSSL cannot decrypt");
    }
    return this.#lib.EVP_CipherFinal_ex(this.#context, buffer(tag), length) === 1;
  }

  free(): void {
    if (this.#context !== null) this.#lib.EVP_CIPHER_CTX_free(this.#context);
    this.#context = null;
  }

  /** All but the tag, which is returned. */
  #cipher(iv: Uint8Array, frame: Uint8Array): Uint8Array {
    const textLength = frame.length - gcmAadLength - gcmTagLength;
    // A context that was freed must never get to OpenSSL, nor a length that is not the buffer's.
    if (this.#context === null || iv.length !== 12 || textLength < 0) throw new Error("Bad use");
    const text = frame.subarray(gcmAadLength, gcmAadLength + textLength);
    const { EVP_CipherInit_ex, EVP_CipherUpdate } = this.#lib;
    if (
      EVP_CipherInit_ex(this.#context, null, null, null, buffer(iv), SAME) !== 1 ||
      EVP_CipherUpdate(this.#context, null, length, buffer(frame), gcmAadLength) !== 1 ||
      EVP_CipherUpdate(this.#context, buffer(text), length, buffer(text), textLength) !== 1
    ) throw new Error("OpenSSL fails");
    return frame.subarray(gcmAadLength + textLength);
  }
}

/** Where OpenSSL writes how much it wrote. */
const length = new Uint8Array(4);

function buffer(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bytes as Uint8Array<ArrayBuffer>;
}

function load(): Libcrypto | undefined {
  // Without the permission, dlopen() would ask on the terminal.
  if (Deno.build.os !== "linux") return undefined;
  if (Deno.permissions.querySync({ name: "ffi" }).state !== "granted") return undefined;
  for (const soname of sonames) {
    try {
      const { symbols: lib } = Deno.dlopen(soname, symbols);
      selfTest(lib);
      return lib;
    } catch (error) {
      log("ssh").debug("No OpenSSL", { soname, error: messageOf(error) });
    }
  }
  return undefined;
}

/** @throws Error unless it does what node:crypto does, and refuses what was changed */
function selfTest(lib: Libcrypto): void {
  for (const name of ["aes-128-gcm", "aes-256-gcm"] as const) {
    const bytes = Uint8Array.from({ length: 128 }, (_, i) => i * 11);
    const key = bytes.slice(0, name === "aes-128-gcm" ? 16 : 32);
    const iv = bytes.slice(40, 52);
    const text = bytes.slice(60, 60 + 48);
    const frame = new Uint8Array(gcmAadLength + text.length + gcmTagLength);
    frame.set(bytes.subarray(0, gcmAadLength));
    frame.set(text, gcmAadLength);

    const expected = createCipheriv(name, key, iv);
    expected.setAAD(frame.slice(0, gcmAadLength));
    const sealedText = expected.update(text);
    expected.final();

    const sealing = new OpensslGcm(lib, name, key, "seal");
    const opening = new OpensslGcm(lib, name, key, "open");
    try {
      sealing.seal(iv, frame);
      const isSame = equalBytes(frame.subarray(gcmAadLength, -gcmTagLength), sealedText) &&
        equalBytes(frame.subarray(-gcmTagLength), expected.getAuthTag());
      const changed = frame.slice();
      changed[gcmAadLength]! ^= 1;
      const isStrict = !opening.open(iv, changed);
      const isBack = opening.open(iv, frame) &&
        equalBytes(frame.subarray(gcmAadLength, -gcmTagLength), text);
      if (!isSame || !isStrict || !isBack) throw new Error("OpenSSL's AES-GCM is not as expected");
    } finally {
      sealing.free();
      opening.free();
    }
  }
}

const libcrypto = load();

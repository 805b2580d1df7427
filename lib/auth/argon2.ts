/**
 * Argon2id (RFC 9106) with one lane and a 64-byte tag.
 *
 * The compression function is the WebAssembly of argon2_wasm.ts; here is the order in which blocks
 * are filled. Packages that do all of it take two to three times as long: they make a new instance
 * of the module, or a view of each block, for every hash.
 */
import { createHash } from "node:crypto";
import { concat, fromBase64 } from "../base/bytes.ts";
import { PLAIN_WASM, SIMD_WASM } from "./argon2_wasm.ts";

export interface Argon2Parameters {
  /** KiB, at least 8. */
  memoryKiB: number;
  passes: number;
}

export const TAG_BYTES = 64;

const BLOCK = 1024;
const SLICES = 4;
const PAGE = 64 * 1024;
const ID = 2;
const VERSION = 0x13;

// Layout of the memory: five blocks to work with, then the matrix.
const SCRATCH = 0;
const ADDRESSES = BLOCK;
const ADDRESS_INPUT = 2 * BLOCK;
const ZERO = 3 * BLOCK;
const NEW_BLOCK = 4 * BLOCK;
const LANE_AND_INDEX = 5 * BLOCK;
const MATRIX = 6 * BLOCK;

interface Compression {
  G(x: number, y: number, result: number, scratch: number): void;
  G2(x: number, y: number, result: number, scratch: number): void;
  xor(out: number, x: number, y: number): void;
  getLZ(
    out: number,
    j1j2: number,
    lane: number,
    lanes: number,
    pass: number,
    slice: number,
    index: number,
    slices: number,
    segmentLength: number,
  ): void;
}

/** Hashes one after the other in the same memory, which stays as large as the largest needed. */
export class Argon2id {
  private constructor(
    private readonly memory: WebAssembly.Memory,
    private readonly wasm: Compression,
  ) {}

  static async create(): Promise<Argon2id> {
    // The modules declare an initial size of 1040 pages; what is not touched takes no memory.
    const memory = new WebAssembly.Memory({ initial: 1040, maximum: 65536 });
    const load = (base64: string) =>
      WebAssembly.instantiate(fromBase64(base64), { env: { memory } });
    const { instance } = await load(SIMD_WASM).catch(() => load(PLAIN_WASM));
    return new Argon2id(memory, instance.exports as unknown as Compression);
  }

  /** @returns the tag, 64 bytes */
  hash(password: Uint8Array, salt: Uint8Array, parameters: Argon2Parameters): Uint8Array {
    const { memoryKiB, passes } = parameters;
    const segment = Math.floor(memoryKiB / SLICES);
    const blocks = segment * SLICES;
    this.#reserve(MATRIX + blocks * BLOCK);
    const bytes = new Uint8Array(this.memory.buffer);
    try {
      bytes.fill(0, 0, MATRIX);
      const seed = initialHash(password, salt, parameters);
      bytes.set(longHash(concat(seed, le32(0), le32(0))), MATRIX);
      bytes.set(longHash(concat(seed, le32(1), le32(0))), MATRIX + BLOCK);
      for (let pass = 0; pass < passes; pass++) {
        for (let slice = 0; slice < SLICES; slice++) {
          this.#fillSegment(pass, slice, segment, blocks, passes);
        }
      }
      const last = MATRIX + (blocks - 1) * BLOCK;
      return blake2b(le32(TAG_BYTES), bytes.subarray(last, last + BLOCK));
    } finally {
      bytes.fill(0, 0, MATRIX + blocks * BLOCK);
    }
  }

  #fillSegment(pass: number, slice: number, segment: number, blocks: number, passes: number): void {
    const { G, G2, xor, getLZ } = this.wasm;
    const view = new DataView(this.memory.buffer);
    const independent = pass === 0 && slice < SLICES / 2;
    if (independent) {
      [pass, 0, slice, blocks, passes, ID, 0].forEach((value, i) =>
        view.setBigUint64(ADDRESS_INPUT + 8 * i, BigInt(value), true)
      );
    }
    for (let i = 0; i < segment; i++) {
      if (independent && i % 128 === 0) {
        view.setBigUint64(ADDRESS_INPUT + 48, BigInt(i / 128 + 1), true);
        G2(ZERO, ADDRESS_INPUT, ADDRESSES, SCRATCH);
      }
      const index = slice * segment + i;
      if (pass === 0 && index < 2) continue;
      const current = MATRIX + index * BLOCK;
      const previous = index > 0 ? current - BLOCK : MATRIX + (blocks - 1) * BLOCK;
      const j1j2 = independent ? ADDRESSES + (i % 128) * 8 : previous;
      getLZ(LANE_AND_INDEX, j1j2, 0, 1, pass, slice, i, SLICES, segment);
      const reference = MATRIX + view.getUint32(LANE_AND_INDEX + 4, true) * BLOCK;
      if (pass === 0) {
        G(previous, reference, current, SCRATCH);
      } else {
        G(previous, reference, NEW_BLOCK, SCRATCH);
        xor(current, current, NEW_BLOCK);
      }
    }
  }

  #reserve(size: number): void {
    const missing = size - this.memory.buffer.byteLength;
    if (missing > 0) this.memory.grow(Math.ceil(missing / PAGE));
  }
}

function initialHash(
  password: Uint8Array,
  salt: Uint8Array,
  { memoryKiB, passes }: Argon2Parameters,
): Uint8Array {
  const lanes = 1;
  return blake2b(
    ...[lanes, TAG_BYTES, memoryKiB, passes, VERSION, ID].map(le32),
    le32(password.length),
    password,
    le32(salt.length),
    salt,
    // Neither a secret nor associated data.
    le32(0),
    le32(0),
  );
}

/** H' of RFC 9106 §3.3 for one block: 31 hashes of which the first 30 give their first half. */
function longHash(input: Uint8Array): Uint8Array {
  const block = new Uint8Array(BLOCK);
  let v = blake2b(le32(BLOCK), input);
  let at = 0;
  for (; at < BLOCK - 64; at += 32) {
    block.set(v.subarray(0, 32), at);
    v = blake2b(v);
  }
  block.set(v, at);
  return block;
}

function blake2b(...parts: Uint8Array[]): Uint8Array {
  const hash = createHash("blake2b512");
  for (const part of parts) hash.update(part);
  return Uint8Array.from(hash.digest());
}

function le32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

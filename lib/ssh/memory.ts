/**
 * Memory for bytes on their way. Buffers are what a transfer would leave most of for the garbage
 * collector (each is counted outside of V8's heap and hastens full collections), so they are used
 * again: those that are written from by a pool, those that are read into by a promise between two
 * streams.
 */
import { Buffer } from "node:buffer";

/** A stream whose chunks lie in memory that it would like to use again. */
export interface Reusing {
  /**
   * To be called in the handler of "data" with the chunk of that event, when nobody will look at it
   * after the handler has returned. At any other time it does nothing.
   */
  reuse(chunk: Uint8Array): void;
}

/**
 * Marks a writable that keeps nothing of a chunk once its write is done, as a socket does and a
 * PassThrough does not.
 */
export const keepsNothing: unique symbol = Symbol("keepsNothing");

/** Whether `to` has taken all that was written to it and has kept nothing of it. */
export function hasConsumed(to: { readonly writableLength: number }): boolean {
  return keepsNothing in to && to.writableLength === 0;
}

/** Lets a stream that wants to use a chunk's memory again. */
export function reuse(stream: object, chunk: Uint8Array): void {
  if ("reuse" in stream) (stream as Reusing).reuse(chunk);
}

/** Small ones for single packets; big ones for a transfer, in the course of which all is reused. */
const sizes = [4 * 1024, 64 * 1024, 512 * 1024, 2 * 1024 * 1024];
const kept = [64, 32, 16, 2];
const pools: Buffer[][] = sizes.map(() => []);

export const nothing: Buffer = Buffer.alloc(0);

/** Memory of at least `size` bytes, with anything in it. */
export function takeMemory(size: number): Buffer {
  const kind = sizes.findIndex((each) => each >= size);
  return pools[kind]?.pop() ?? Buffer.allocUnsafeSlow(sizes[kind] ?? 2 * size);
}

/** What takeMemory() gave and nobody uses any more. */
export function giveMemory(buffer: Buffer): void {
  const kind = sizes.indexOf(buffer.length);
  const pool = pools[kind];
  if (pool && pool.length < kept[kind]!) pool.push(buffer);
}

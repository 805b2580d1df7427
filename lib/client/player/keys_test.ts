import assert from "node:assert/strict";
import fc from "fast-check";
import { utf8Encode } from "../../base/bytes.ts";
import { KeyDecoder } from "./keys.ts";

const decode = (...chunks: string[]) => {
  const decoder = new KeyDecoder();
  return chunks.flatMap((chunk) => decoder.push(utf8Encode(chunk)));
};

Deno.test("KeyDecoder knows the player's keys, cursor keys in both modes", () => {
  assert.deepEqual(decode(" .,q\x03\x04"), ["pause", "step", "step-back", "quit", "quit", "quit"]);
  assert.deepEqual(decode("\x1b[A\x1b[B\x1b[C\x1b[D"), ["faster", "slower", "forward", "back"]);
  assert.deepEqual(decode("\x1bOC\x1bOD+-"), ["forward", "back", "faster", "slower"]);
});

Deno.test("KeyDecoder joins a cursor key that comes in pieces", () => {
  assert.deepEqual(decode("\x1b", "[", "C", " "), ["forward", "pause"]);
});

Deno.test("KeyDecoder takes nothing of what a terminal might answer for a key", () => {
  assert.deepEqual(decode("\x1b[?1;2c\x1b[24;80R\x1b[0n\x1b[8;24;80t\x1b[200~ab"), []);
});

Deno.test("KeyDecoder takes any bytes, and keeps hardly any of them", () => {
  fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 20 })), (chunks) => {
    const decoder = new KeyDecoder();
    for (const chunk of chunks) decoder.push(chunk);
    // What was begun ends at the latest with this.
    decoder.push(utf8Encode("~".repeat(2)));
    assert.deepEqual(decoder.push(utf8Encode("q")), ["quit"]);
  }));
  assert.deepEqual(decode("\x1b[" + "1".repeat(100_000), "q"), ["quit"]);
});

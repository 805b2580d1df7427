import assert from "node:assert/strict";
import { utf8Decode, utf8Encode } from "../base/bytes.ts";
import { BadParameter } from "../base/errors.ts";
import { edit, rawMode, StdinPrompter } from "./prompt.ts";

function stdinOf(...chunks: string[]) {
  const left = chunks.map(utf8Encode);
  return {
    read(buffer: Uint8Array): Promise<number | null> {
      const chunk = left.shift();
      if (!chunk) return Promise.resolve(null);
      buffer.set(chunk);
      return Promise.resolve(chunk.length);
    },
  };
}

Deno.test("StdinPrompter answers one line a question, wherever the chunks end", async () => {
  const prompter = new StdinPrompter(stdinOf("pass", "word\r\n12", "3456"));
  assert.equal(await prompter.secret("Enter password:"), "password");
  assert.equal(await prompter.line("Enter your OTP token:"), "123456");
  await assert.rejects(prompter.line("More?"), (e) => {
    assert.ok(e instanceof BadParameter);
    assert.match(e.message, /before it answered "More"/);
    return true;
  });
});

Deno.test("StdinPrompter.hasLine() is false for empty stdin", async () => {
  assert.equal(await new StdinPrompter(stdinOf()).hasLine(), false);
  assert.equal(await new StdinPrompter(stdinOf("x")).hasLine(), true);
});

Deno.test("StdinPrompter never confirms", async () => {
  assert.equal(await new StdinPrompter(stdinOf("yes\n")).confirm("Trust it?"), false);
});

Deno.test("edit() removes whole characters and whole lines", () => {
  const typed: number[] = [];
  const type = (text: string) => utf8Encode(text).forEach((byte) => edit(typed, byte));
  type("paß\x7fss");
  assert.equal(utf8Decode(Uint8Array.from(typed)), "pass");
  type("\x15new\x1b");
  assert.equal(utf8Decode(Uint8Array.from(typed)), "new");
});

Deno.test("rawMode() is left once, also when the process ends before", () => {
  const calls: boolean[] = [];
  const raw = rawMode({ setRaw: (on) => void calls.push(on) });
  globalThis.dispatchEvent(new Event("unload"));
  raw[Symbol.dispose]();
  assert.deepEqual(calls, [true, false]);
});

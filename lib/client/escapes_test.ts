import assert from "node:assert/strict";
import { utf8Decode, utf8Encode } from "../base/bytes.ts";
import { EscapeFilter } from "./escapes.ts";

/** Types text in pieces; gives what is sent, and what the escapes did. */
function typed(...pieces: string[]): { sent: string; help: boolean; disconnected: boolean } {
  const filter = new EscapeFilter();
  let sent = "", help = false;
  for (const piece of pieces) {
    const result = filter.push(utf8Encode(piece));
    sent += utf8Decode(result.data);
    help ||= result.help !== undefined;
    if (result.disconnect) return { sent, help, disconnected: true };
  }
  return { sent, help, disconnected: false };
}

Deno.test("EscapeFilter ends the session at ~. after a line, wherever the pieces are cut", () => {
  assert.deepEqual(typed("ls\r~.x"), { sent: "ls\r", help: false, disconnected: true });
  assert.deepEqual(typed("~", "."), { sent: "", help: false, disconnected: true });
});

Deno.test("EscapeFilter leaves tildes inside lines alone", () => {
  assert.equal(typed("cd ~.config\r", "echo ~").sent, "cd ~.config\recho ~");
});

Deno.test("EscapeFilter sends one tilde for two, and what is no escape unchanged", () => {
  assert.equal(typed("~~.\r").sent, "~.\r");
  assert.equal(typed("~", "/bin\r").sent, "~/bin\r");
});

Deno.test("EscapeFilter shows its help and stays at the line's beginning", () => {
  assert.deepEqual(typed("\r~?~."), { sent: "\r", help: true, disconnected: false });
  assert.deepEqual(typed("\r~?", "~."), { sent: "\r", help: true, disconnected: true });
});

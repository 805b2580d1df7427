import assert from "node:assert/strict";
import { line } from "./scp_progress.ts";

Deno.test("line() fills the terminal's width with name, share, size, rate and time", () => {
  const text = line({ path: "/srv/big.iso", done: 50 << 20, size: 100 << 20 }, 2000, 60);
  assert.equal(text.length, 59);
  assert.equal(text.replace(/ +/g, " "), "big.iso 50% 50.0MB 25.0MB/s 00:02");
});

Deno.test("line() cuts long names and shows control characters", () => {
  const text = line({ path: `/x/${"n".repeat(100)}`, done: 1, size: 1 }, 0, 50);
  assert.equal(text.length, 49);
  assert.match(line({ path: "a\x1b[2Jb", done: 0, size: 0 }, 0, 60), /^a\\x1b\[2Jb +100%/);
});

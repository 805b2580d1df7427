/** For tests: asks {@link file://./test_leaks.ts} in a process of its own. */
import assert from "node:assert/strict";

const program = new URL("./test_leaks.ts", import.meta.url).pathname;

export async function probe(name: "pty" | "pipes" | "idle"): Promise<number> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", program, name],
  }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
  return Number(new TextDecoder().decode(stdout));
}

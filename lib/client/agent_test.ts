import assert from "node:assert/strict";
import { ConnectionProblem } from "../base/errors.ts";
import { generatePrivateKey, verifySignature } from "../sshwire/keys.ts";
import { Agent, offerToAgent, withdrawFromAgent } from "./agent.ts";
import { TestAuthority } from "./test_identity.ts";

/** Runs a real ssh-agent for the test. */
async function withAgent(body: (path: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  const path = `${dir}/agent.sock`;
  const child = new Deno.Command("ssh-agent", {
    args: ["-D", "-a", path],
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    for (let i = 0; i < 500 && !exists(path); i++) await new Promise((r) => setTimeout(r, 10));
    await body(path);
  } finally {
    child.kill("SIGTERM");
    await child.status;
    await Deno.remove(dir, { recursive: true });
  }
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

Deno.test("a login's certificate goes into the agent, replaces the last one, and leaves it", () =>
  withAgent(async (path) => {
    const warnings: string[] = [];
    const authority = new TestAuthority();
    const foreign = generatePrivateKey();
    {
      using agent = await Agent.connect(path);
      assert.ok(await agent.add({ key: foreign, comment: "mine" }));
    }
    await offerToAgent(path, authority.identity(), (text) => warnings.push(text));
    const second = authority.identity();
    await offerToAgent(path, second, (text) => warnings.push(text));
    using agent = await Agent.connect(path);
    const held = await agent.list();
    assert.deepEqual(held.map((each) => each.comment).sort(), ["mine", "teleport:joe"]);
    const ours = held.find((each) => each.comment === "teleport:joe")!;
    assert.deepEqual(ours.blob, second.certificate.blob);
    const data = new TextEncoder().encode("signed");
    const signature = await agent.sign(ours.blob, data, "ssh-ed25519");
    assert.ok(verifySignature(second.key.publicKey, data, signature));
    await withdrawFromAgent(path);
    assert.deepEqual((await agent.list()).map((each) => each.comment), ["mine"]);
    assert.deepEqual(warnings, []);
  }));

Deno.test("an agent that is not there only makes a warning", async () => {
  const warnings: string[] = [];
  const warn = (text: string) => warnings.push(text);
  await offerToAgent("/nowhere/agent.sock", new TestAuthority().identity(), warn);
  await offerToAgent(undefined, new TestAuthority().identity(), warn);
  await offerToAgent("", new TestAuthority().identity(), warn);
  assert.equal(warnings.length, 1);
  assert.match(warnings[0]!, /Cannot reach the ssh-agent at \/nowhere\/agent\.sock/);
  await withdrawFromAgent("/nowhere/agent.sock");
  await assert.rejects(Agent.connect("/nowhere/agent.sock"), ConnectionProblem);
});

Deno.test("an agent that cannot hold certificates only makes a warning", async () => {
  const dir = await Deno.makeTempDir();
  const path = `${dir}/sock`;
  const listener = Deno.listen({ transport: "unix", path });
  const serve = (async () => {
    for await (const conn of listener) {
      const buffer = new Uint8Array(64 * 1024);
      for (let n = await conn.read(buffer); n !== null; n = await conn.read(buffer)) {
        const isList = buffer[4] === 11;
        await conn.write(
          Uint8Array.from(isList ? [0, 0, 0, 5, 12, 0, 0, 0, 0] : [0, 0, 0, 1, 5]),
        );
      }
      conn.close();
    }
  })();
  try {
    const warnings: string[] = [];
    await offerToAgent(path, new TestAuthority().identity(), (text) => warnings.push(text));
    assert.equal(warnings.length, 1);
    assert.match(warnings[0]!, /cannot hold certificates/);
  } finally {
    listener.close();
    await serve;
    await Deno.remove(dir, { recursive: true });
  }
});

import assert from "node:assert/strict";
import type { Duplex } from "node:stream";
import { ConnectionProblem } from "../../base/errors.ts";
import { generatePrivateKey, verifySignature } from "../../sshwire/keys.ts";
import { encodeAgentAnswer, frameAgentMessage } from "../../sshwire/agent.ts";
import { ForwardedAgent } from "./agent.ts";
import { AgentOffer } from "./agent_offer.ts";
import { streamPair } from "./stream_pair.ts";
import { TestAgent } from "./test_setting.ts";

const data = new Uint8Array([1, 2, 3]);

Deno.test("ForwardedAgent lists what the agent holds, and signs with it", async () => {
  const key = generatePrivateKey();
  using agent = new ForwardedAgent(await new TestAgent([{ key }]).open());
  const [held] = await agent.list();
  assert.deepEqual(held!.blob, key.publicKey.blob);
  const signature = await agent.sign(held!.blob, data, "ssh-ed25519");
  assert.ok(verifySignature(key.publicKey, data, signature));
  await assert.rejects(
    agent.sign(generatePrivateKey().publicKey.blob, data, "ssh-ed25519"),
    /refused to sign/,
  );
});

for (
  const [what, answer] of [
    ["hangs up", (far) => void far.destroy()],
    ["ends", (far) => void far.end()],
    ["answers with rubbish", (far) => void far.write(new Uint8Array([0, 0, 0, 1, 99]))],
    ["claims an endless message", (far) => void far.write(new Uint8Array([255, 255, 255, 255, 1]))],
    ["answers twice", (far) => {
      const once = frameAgentMessage(encodeAgentAnswer({ kind: "failure" }));
      far.write(new Uint8Array([...once, ...once]));
    }],
  ] as [string, (far: Duplex) => void][]
) {
  Deno.test(`ForwardedAgent gives up an agent that ${what}`, async () => {
    const [near, far] = streamPair();
    far.once("data", () => answer(far));
    using agent = new ForwardedAgent(near);
    await assert.rejects(agent.list(), ConnectionProblem);
    await assert.rejects(agent.list(), ConnectionProblem);
  });
}

Deno.test("AgentOffer: what a session says counts, silence means that one may ask", async () => {
  const offered = new AgentOffer(60_000);
  offered.offer();
  offered.withhold();
  assert.equal(await offered.mayAsk(), true);
  assert.equal(offered.isOffered, true);

  const withheld = new AgentOffer(60_000);
  withheld.withhold();
  assert.equal(await withheld.mayAsk(), false);
  withheld.offer();
  assert.equal(await withheld.mayAsk(), true);

  const silent = new AgentOffer(1);
  assert.equal(await silent.mayAsk(), true);
  assert.equal(silent.isOffered, false);

  const gone = new AgentOffer(60_000);
  gone.close();
  assert.equal(await gone.mayAsk(), false);
});

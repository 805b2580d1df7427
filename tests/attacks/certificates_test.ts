import assert from "node:assert/strict";
import { Cluster } from "../harness/cluster.ts";
import { must } from "../harness/run.ts";
import { Mint, type MintOptions, ROLES, TRAITS } from "./mint.ts";

Deno.test("certificates that must not open a node or the proxy", async (t) => {
  await using cluster = await Cluster.allInOne({ secondFactor: "off" });
  const mint = await Mint.open(cluster);

  await t.step("an honest certificate of the same making does open the node", async () => {
    const result = await mint.ssh(await mint.certified(), ["id", "-un"]);
    assert.equal(result.stdout, "root\n", result.stderr);
    const proxy = await mint.ssh(await mint.certified(), ["proxysites"], {
      to: "proxy",
      flags: ["-s"],
    });
    assert.match(proxy.stdout, /"main"/, proxy.stderr);
  });

  /** Neither the node nor the proxy lets the key in. */
  const closed = async (key: string, login = "root") => {
    const node = await mint.ssh(key, ["id"], { login });
    assert.equal(node.code, 255, `the node opened: ${node.stdout}`);
    assert.match(node.stderr, /Permission denied|Too many authentication failures/);
    const proxy = await mint.ssh(key, ["proxysites"], { login, to: "proxy", flags: ["-s"] });
    assert.equal(proxy.code, 255, `the proxy opened: ${proxy.stdout}`);
    assert.match(proxy.stderr, /Permission denied|Too many authentication failures/);
  };
  const refuses = (what: string, make: () => Promise<MintOptions> | MintOptions) =>
    t.step(what, async () => closed(await mint.certified(await make())));

  await refuses("attack 1: signed by an unknown CA", async () => ({ ca: await mint.newKey() }));
  await t.step("attack 2: signed by its own key", async () => {
    const key = await mint.newKey();
    await must([
      ...["ssh-keygen", "-q", "-s", key, "-I", "self", "-n", "root", "-O", ROLES, "-O", TRAITS],
      `${key}.pub`,
    ]);
    await closed(key);
  });
  await t.step("attack 4: the CA's own key without a certificate", () => closed(mint.userCa));
  await refuses(
    "attack 5: a host certificate of the host CA",
    () => ({ ca: mint.hostCa, host: true, options: [] }),
  );
  await refuses(
    "attack 5: a host certificate signed by the user CA",
    () => ({ host: true, options: [] }),
  );
  await refuses("attack 5: a user certificate signed by the host CA", () => ({ ca: mint.hostCa }));
  await refuses("attack 6: no principals at all", () => ({ principals: [] }));
  await refuses("attack 7: a principal that names two", () => ({ principals: ["deploy root"] }));
  await refuses("attack 7: a principal with a wildcard", () => ({ principals: ["*"] }));
  await refuses(
    "attack 8: a login that is not among the principals",
    () => ({ principals: ["games"] }),
  );
  await refuses("attack 9: expired", () => ({ validity: "-2h:-1h" }));
  await refuses("attack 9: not valid yet", () => ({ validity: "+1h:+2h" }));
  await refuses(
    "attack 10: an unknown critical option",
    () => ({ options: [ROLES, TRAITS, "critical:from-mars=yes"] }),
  );
  await refuses("attack 12: a source address that is not the client's", () => ({
    options: [ROLES, TRAITS, "source-address=192.0.2.0/24"],
  }));
  await t.step("attack 12: a source address that is the client's opens", async () => {
    const key = await mint.certified({ options: [ROLES, TRAITS, "source-address=127.0.0.0/8"] });
    assert.equal((await mint.ssh(key, ["id", "-un"])).stdout, "root\n");
  });
  await t.step("attack 16: an RSA certificate whose client signs with SHA-1", async () => {
    const key = await mint.certified({ keyType: "rsa" });
    const good = await mint.ssh(key, ["id", "-un"]);
    assert.equal(good.stdout, "root\n", good.stderr);
    const result = await mint.ssh(key, ["id"], {
      flags: ["-o", "PubkeyAcceptedAlgorithms=ssh-rsa-cert-v01@openssh.com"],
    });
    assert.equal(result.code, 255, result.stdout);
  });
  await t.step("attack 23: another key's certificate", async () => {
    const key = await mint.newKey();
    const victim = await mint.certified();
    await Deno.copyFile(`${victim}-cert.pub`, `${key}-cert.pub`);
    await closed(key);
  });
  await t.step("attack 24: a certificate without roles opens no node", async () => {
    const key = await mint.certified({ options: ["clear", "permit-pty"] });
    const result = await mint.ssh(key, ["id"]);
    assert.equal(result.code, 255, result.stdout);
  });

  await t.step("attack 13: force-command replaces command, shell and subsystem", async () => {
    const key = await mint.certified({ options: [ROLES, TRAITS, "force-command=echo forced"] });
    for (const [command, flags] of [[["id"], []], [[], []], [["sftp"], ["-s"]]] as const) {
      const result = await mint.ssh(key, [...command], { flags: [...flags] });
      assert.doesNotMatch(result.stdout, /uid=/);
      assert.ok(result.stdout === "forced\n" || result.code !== 0, result.stdout);
    }
    assert.equal((await mint.ssh(key, ["id"])).stdout, "forced\n");
  });
  await t.step("attack 14: no permit-pty, no terminal", async () => {
    const key = await mint.certified({ options: ["clear", ROLES, TRAITS] });
    const result = await mint.ssh(key, ["tty"], { flags: ["-tt"] });
    assert.doesNotMatch(result.stdout, /\/dev\/pts/);
  });
});

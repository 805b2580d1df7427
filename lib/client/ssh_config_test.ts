import assert from "node:assert/strict";
import { formatSshConfig } from "./ssh_config.ts";
import { TestAuthority } from "./test_identity.ts";

const profile = {
  name: "proxy.example.com",
  web: { host: "proxy.example.com", port: 443 },
  ssh: { host: "proxy.example.com", port: 3023 },
  user: "joe",
  cluster: "main",
};
const { certificate } = new TestAuthority().identity({ logins: ["deploy"] });

/** What ssh itself reads out of the block, by `ssh -G`. */
async function readBySsh(config: string, host: string): Promise<Map<string, string>> {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${dir}/config`, config);
    const { stdout, stderr, success } = await new Deno.Command("ssh", {
      args: ["-F", `${dir}/config`, "-G", host],
    }).output();
    assert.ok(success, new TextDecoder().decode(stderr));
    return new Map(
      new TextDecoder().decode(stdout).trim().split("\n").map((each) => {
        const [key = "", ...value] = each.split(" ");
        return [key, value.join(" ")];
      }),
    );
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("ssh reads the block as it was meant", async () => {
  const config = formatSshConfig({ dir: "/home/joe/.tsh", profile, certificate, tsh: "/bin/tsh" });
  const read = await readBySsh(config, "db-1.main");
  assert.equal(read.get("user"), "deploy");
  assert.equal(read.get("identityfile"), "/home/joe/.tsh/keys/proxy.example.com/joe");
  assert.equal(read.get("certificatefile"), "/home/joe/.tsh/keys/proxy.example.com/joe-cert.pub");
  assert.equal(read.get("userknownhostsfile"), "/home/joe/.tsh/known_hosts");
  assert.equal(read.get("stricthostkeychecking"), "true");
  assert.equal(
    read.get("proxycommand"),
    "/bin/tsh proxy ssh --proxy=proxy.example.com:443,3023 --user=joe %r@%h:%p",
  );
  assert.equal((await readBySsh(config, "elsewhere.org")).has("proxycommand"), false);
});

Deno.test("paths with spaces, quotes and percent signs mean themselves", async () => {
  const config = formatSshConfig({
    dir: "/home/a b/100%/.tsh",
    profile,
    certificate,
    tsh: "/opt/t'sh/tsh",
    home: "/home/a b/100%/.tsh",
  });
  const read = await readBySsh(config, "db-1.main");
  assert.equal(
    read.get("proxycommand"),
    [
      "env TELEPORT_HOME='/home/a b/100%%/.tsh' '/opt/t'\\''sh/tsh' proxy ssh",
      "--proxy=proxy.example.com:443,3023 --user=joe %r@%h:%p",
    ].join(" "),
  );
  assert.match(read.get("identityfile") ?? "", /^\/home\/a b\/100%%?\/\.tsh\/keys/);
});

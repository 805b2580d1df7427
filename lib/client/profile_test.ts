import assert from "node:assert/strict";
import { BadParameter } from "../base/errors.ts";
import {
  parseProfile,
  type Profile,
  profileDirectory,
  readCurrentProfile,
  readProfiles,
  removeProfile,
  writeProfile,
} from "./profile.ts";

const profile: Profile = {
  name: "proxy.example.com",
  web: { host: "proxy.example.com", port: 3080 },
  ssh: { host: "ssh.example.com", port: 3023 },
  user: 'joe o\'neil: "x"',
  cluster: "main",
};

Deno.test("profileDirectory() is TELEPORT_HOME, else ~/.tsh", () => {
  const env = (values: Record<string, string>) => (name: string) => values[name];
  assert.equal(profileDirectory(env({ TELEPORT_HOME: "/t/", HOME: "/h" })), "/t");
  assert.equal(profileDirectory(env({ HOME: "/home/joe" })), "/home/joe/.tsh");
  assert.throws(() => profileDirectory(env({})), BadParameter);
});

Deno.test("a profile is read back as it was written, private to its owner", async () => {
  const dir = `${await Deno.makeTempDir()}/.tsh`;
  try {
    await writeProfile(dir, profile);
    assert.deepEqual(readCurrentProfile(dir), profile);
    assert.equal(Deno.statSync(dir).mode! & 0o777, 0o700);
    assert.equal(Deno.statSync(`${dir}/proxy.example.com.yaml`).mode! & 0o777, 0o600);
    await writeProfile(dir, { ...profile, name: "other" });
    assert.deepEqual(readProfiles(dir).map((each) => each.name), ["other", "proxy.example.com"]);
    await removeProfile(dir, "other");
    assert.equal(readCurrentProfile(dir), undefined);
    assert.equal(readProfiles(dir).length, 1);
  } finally {
    await Deno.remove(dir.slice(0, -5), { recursive: true });
  }
});

Deno.test("a directory that others could enter is closed to them", async () => {
  const dir = await Deno.makeTempDir();
  try {
    await Deno.chmod(dir, 0o755);
    await writeProfile(dir, profile);
    assert.equal(Deno.statSync(dir).mode! & 0o777, 0o700);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test("parseProfile() reads Teleport's own files and names what is missing", () => {
  const text = [
    "web_proxy_addr: p:3080",
    "ssh_proxy_addr: p:3023",
    'kube_proxy_addr: ""',
    "auth_type: local",
    "user: 'joe'",
    "cluster: main",
    "forward_ports: []",
  ].join("\n");
  assert.equal(parseProfile("p", text, "p.yaml").user, "joe");
  assert.throws(
    () => parseProfile("p", text.replace("cluster: main", ""), "/x/p.yaml"),
    /\/x\/p\.yaml: it lacks cluster/,
  );
});

Deno.test("a proxy's name cannot leave the directory", async () => {
  const dir = await Deno.makeTempDir();
  try {
    for (const name of ["../evil", "a/b", ".hidden", ""]) {
      await assert.rejects(writeProfile(dir, { ...profile, name }), BadParameter, name);
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

import assert from "node:assert/strict";
import { FakeClock } from "../base/clock.ts";
import { sshKeyOfAuthority } from "../cert/x509.ts";
import { equalKeys } from "../sshwire/keys.ts";
import { MemoryBackend } from "../storage/memory.ts";
import { Authorities } from "./authorities.ts";
import { ResourceStore } from "./store.ts";

Deno.test("authorities are made once, also by several servers that start at the same moment", async () => {
  const store = new ResourceStore(new MemoryBackend());
  const clock = new FakeClock(Date.now());
  const all = await Promise.all(
    [1, 2, 3].map(() => Authorities.open(store, "example.com", clock)),
  );
  const later = await Authorities.open(store, "example.com", clock);
  for (const each of all) {
    for (const type of ["user", "host"] as const) {
      assert.ok(equalKeys(each[type].sshKey.publicKey, later[type].sshKey.publicKey));
      assert.equal(each[type].tls.certPem, later[type].tls.certPem);
    }
  }
  assert.ok(!equalKeys(later.user.sshKey.publicKey, later.host.sshKey.publicKey));
});

Deno.test("the X.509 certificate of an authority vouches for its SSH key, and what is public has no private key", async () => {
  const store = new ResourceStore(new MemoryBackend());
  const authorities = await Authorities.open(store, "example.com", new FakeClock(Date.now()));
  const key = sshKeyOfAuthority(authorities.host.tls.certPem);
  assert.ok(equalKeys(key, authorities.host.sshKey.publicKey));
  assert.ok(!/PRIVATE/.test(JSON.stringify(authorities.publicResources())));
  assert.match(authorities.caPins()[0]!, /^sha256:[0-9a-f]{64}$/);
  assert.match(authorities.status("user").fingerprints[0]!, /^SHA256:/);
});

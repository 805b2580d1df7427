import assert from "node:assert/strict";
import { FakeClock } from "../../base/clock.ts";
import { AccessDenied, ConnectionProblem } from "../../base/errors.ts";
import { issueHostCertificate } from "../../cert/issue.ts";
import { formatCertificateLine } from "../../sshwire/certificate.ts";
import {
  equalKeys,
  formatAuthorizedKey,
  generatePrivateKey,
  parseAuthorizedKey,
} from "../../sshwire/keys.ts";
import { HostCertificates } from "./host_certificates.ts";

const HOUR = 3_600_000;
const ca = generatePrivateKey();

class Auth {
  readonly clock = new FakeClock();
  readonly asked: string[] = [];
  error: Error | undefined;

  readonly sign = async (host: string, publicKey: string): Promise<string> => {
    this.asked.push(host);
    await Promise.resolve();
    if (this.error) throw this.error;
    return formatCertificateLine(issueHostCertificate({
      ca,
      key: parseAuthorizedKey(publicKey).key,
      keyId: host,
      principals: [host],
      validAfterMs: this.clock.now() - 60_000,
      validBeforeMs: this.clock.now() + 24 * HOUR,
      extensions: {},
    }));
  };

  cache(max?: number): HostCertificates {
    return new HostCertificates({
      sign: this.sign,
      clock: this.clock,
      ...(max === undefined ? {} : { max }),
    });
  }
}

Deno.test("a name is certified once for all who ask, in any case of letters", async () => {
  const auth = new Auth();
  const cache = auth.cache();
  const keys = await Promise.all(["web-1", "WEB-1", "web-1"].map((name) => cache.get(name)));
  assert.deepEqual(auth.asked, ["web-1"]);
  for (const { key, certificate } of keys) {
    assert.deepEqual(certificate?.principals, ["web-1"]);
    assert.ok(equalKeys(certificate!.key, key.publicKey));
  }
  await cache.get("web-2");
  assert.equal(cache.size, 2);
  assert.notEqual(
    formatAuthorizedKey((await cache.get("web-2")).key.publicKey),
    formatAuthorizedKey(keys[0]!.key.publicKey),
  );
});

Deno.test("it is certified anew an hour before its end", async () => {
  const auth = new Auth();
  const cache = auth.cache();
  await cache.get("web-1");
  auth.clock.advance(22 * HOUR);
  await cache.get("web-1");
  assert.equal(auth.asked.length, 1);
  auth.clock.advance(1.5 * HOUR);
  await cache.get("web-1");
  assert.equal(auth.asked.length, 2);
});

Deno.test("while auth is away, what is valid serves, and nothing longer than that", async () => {
  const auth = new Auth();
  const cache = auth.cache();
  const before = await cache.get("web-1");
  auth.error = new ConnectionProblem("auth is away");
  auth.clock.advance(23.5 * HOUR);
  assert.equal(await cache.get("web-1"), before);
  auth.clock.advance(HOUR);
  await assert.rejects(cache.get("web-1"), ConnectionProblem);
  await assert.rejects(cache.get("web-2"), ConnectionProblem);
});

Deno.test("what auth refuses now is not shown any more", async () => {
  const auth = new Auth();
  const cache = auth.cache();
  await cache.get("web-1");
  auth.clock.advance(23.5 * HOUR);
  auth.error = new AccessDenied("it is another proxy");
  await assert.rejects(cache.get("web-1"), AccessDenied);
  assert.equal(cache.size, 0);
});

Deno.test("of too many names, the one used longest ago is forgotten", async () => {
  const auth = new Auth();
  const cache = auth.cache(2);
  for (const name of ["a", "b", "a", "c", "a"]) await cache.get(name);
  assert.equal(cache.size, 2);
  assert.deepEqual(auth.asked, ["a", "b", "c"]);
  await cache.get("b");
  assert.deepEqual(auth.asked, ["a", "b", "c", "b"]);
});

Deno.test("a certificate of another key is not shown", async () => {
  const auth = new Auth();
  const other = formatAuthorizedKey(generatePrivateKey().publicKey);
  const cache = new HostCertificates({ sign: (host) => auth.sign(host, other) });
  await assert.rejects(cache.get("web-1"), /another key/);
});

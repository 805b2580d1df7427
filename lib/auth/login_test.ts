import assert from "node:assert/strict";
import { AccessDenied, BadParameter } from "../base/errors.ts";
import { configureLog } from "../base/log.ts";
import { parseCertificateLine } from "../sshwire/certificate.ts";
import { ADMIN, CLUSTER, PROXY, testRole, userKeyLine, withAuth } from "./testing.ts";

configureLog({ level: "off", format: "text" });

const WRONG = "invalid username or password";

function refused(message: string | RegExp) {
  return (e: Error) => {
    assert.ok(e instanceof AccessDenied, e.stack);
    if (typeof message === "string") assert.equal(e.message, message);
    else assert.match(e.message, message);
    return true;
  };
}

Deno.test("login with password and code gives a certificate for the user's logins", () =>
  withAuth(async ({ enrol, eventsOf }) => {
    const joe = await enrol("joe");
    const { username, cert, host_signers } = await joe.login();
    const certificate = parseCertificateLine(cert);
    assert.equal(username, "joe");
    assert.equal(certificate.keyId, "joe");
    assert.deepEqual(certificate.principals, ["joe"]);
    assert.equal(host_signers[0]!.domain_name, CLUSTER);
    const [event] = eventsOf("user.login");
    assert.deepEqual(
      [event!.code, (event as { success?: boolean }).success, (event as { user: string }).user],
      ["T1000I", true, "joe"],
    );
    assert.equal((event as { "addr.remote"?: string })["addr.remote"], "198.51.100.4:50000");
  }));

Deno.test("wrong password, wrong code, no code and unknown user get one and the same answer", () =>
  withAuth(async ({ enrol, call, eventsOf }) => {
    const joe = await enrol("joe");
    await call(ADMIN, "users.create", { name: "invited" });
    const request = { public_key: userKeyLine, client_addr: "a:1", password: "correct horse" };
    await assert.rejects(joe.login({ password: "wrong one" }), refused(WRONG));
    await assert.rejects(joe.login({ otp_token: "000000" }), refused(WRONG));
    await assert.rejects(joe.login({ otp_token: undefined }), refused(WRONG));
    for (const user of ["nobody", "invited", "../joe", "joe/", "", "a\u0000b"]) {
      await assert.rejects(
        call(PROXY, "auth.login", { ...request, user, otp_token: joe.code() }),
        refused(WRONG),
      );
    }
    assert.deepEqual(
      eventsOf("user.login").slice(0, 5).map((e) => [e.code, (e as { error?: string }).error]),
      [
        ["T1000W", "wrong password"],
        ["T1000W", "wrong one-time code"],
        ["T1000W", "no one-time code"],
        ["T1000W", "unknown user"],
        ["T1000W", "wrong password"],
      ],
    );
  }));

Deno.test("known and unknown users are locked after as many failures, with the same words (attack 47)", () =>
  withAuth(async ({ enrol, call, eventsOf }) => {
    const joe = await enrol("joe");
    const answers = async (user: string) => {
      const seen: string[] = [];
      for (let i = 0; i < 7; i++) {
        await call(PROXY, "auth.login", {
          user,
          password: "wrong one",
          otp_token: "123456",
          public_key: userKeyLine,
          client_addr: "a:1",
        }).catch((e: Error) => seen.push(e.message.replaceAll(user, "X")));
      }
      return seen;
    };
    const known = await answers("joe");
    assert.deepEqual(known, await answers("nobody"));
    assert.equal(known[3], WRONG);
    assert.match(known[4]!, /^X exceeds 5 failed login attempts, locked until /);
    await assert.rejects(joe.login(), refused(/^joe exceeds 5 failed login attempts/));
    const events = eventsOf("user.login");
    assert.ok(events.every((e) => e.code === "T1000W"));
    assert.equal(
      (events[4] as { error?: string }).error,
      "wrong password",
      "the log says why also for the failure that locks",
    );
    assert.match((events[5] as { error?: string }).error!, /locked until/);
  }));

Deno.test("a code is good for one login, whether one after the other or at once (attack 45)", () =>
  withAuth(async ({ enrol, clock }) => {
    const joe = await enrol("joe");
    await joe.login();
    await assert.rejects(joe.login(), refused(WRONG));
    clock.advance(30_000);
    const results = await Promise.allSettled([1, 2, 3, 4].map(() => joe.login()));
    assert.equal(results.filter((r) => r.status === "fulfilled").length, 1);
  }));

Deno.test("a code is not used up by somebody who does not know the password", () =>
  withAuth(async ({ enrol }) => {
    const joe = await enrol("joe");
    await assert.rejects(joe.login({ password: "wrong one" }), refused(WRONG));
    await joe.login();
  }));

Deno.test("without a second factor in the cluster the password is enough", () =>
  withAuth(async ({ enrol }) => {
    const joe = await enrol("joe");
    await joe.login({ otp_token: undefined });
    await assert.rejects(joe.login({ password: "wrong one" }), refused(WRONG));
  }, { secondFactor: "off" }));

Deno.test("an administrator's reset unlocks, and the old password and code do not work any more", () =>
  withAuth(async ({ enrol, call, clock }) => {
    const joe = await enrol("joe");
    for (let i = 0; i < 5; i++) await joe.login({ password: "wrong one" }).catch(() => {});
    await assert.rejects(joe.login(), refused(/locked until/));
    const { token } = await call(ADMIN, "users.reset", { name: "joe" });
    await assert.rejects(joe.login(), refused(WRONG));
    const { otp_secret } = await call(PROXY, "signup.get", { token });
    assert.notEqual(otp_secret, joe.secret);
    joe.secret = otp_secret!;
    joe.password = "another one";
    await call(PROXY, "signup.complete", {
      token,
      password: joe.password,
      otp_token: joe.code(),
    });
    clock.advance(30_000);
    await joe.login();
  }));

Deno.test("a deleted user cannot log in, and a new one of that name starts from nothing", () =>
  withAuth(async ({ enrol, call }) => {
    const joe = await enrol("joe");
    await call(ADMIN, "users.delete", { name: "joe" });
    await assert.rejects(joe.login(), refused(WRONG));
    await call(ADMIN, "users.create", { name: "joe" });
    await assert.rejects(joe.login(), refused(WRONG));
  }));

Deno.test("a user whom an administrator locked is told so only with the right credentials", () =>
  withAuth(async ({ enrol, call, clock }) => {
    const joe = await enrol("joe");
    const { users: [user] } = await call(ADMIN, "users.list", {});
    user!.spec.status = { is_locked: true };
    await call(ADMIN, "resources.create", { resource: user!, force: true });
    await assert.rejects(joe.login({ password: "wrong one" }), refused(WRONG));
    await assert.rejects(joe.login(), refused('user "joe" is locked'));
    user!.spec.status.lock_expires = new Date(clock.now() + 60_000).toISOString();
    await call(ADMIN, "resources.create", { resource: user!, force: true });
    clock.advance(30_000);
    await assert.rejects(joe.login(), refused(/locked until/));
    clock.advance(30_000);
    await joe.login();
  }));

Deno.test("a user with a role that does not exist gets no certificate, as it might have denied", () =>
  withAuth(async ({ enrol, call, backend }) => {
    await call(ADMIN, "resources.create", { resource: testRole("dev") });
    const joe = await enrol("joe", ["admin", "dev"]);
    await backend.delete("/roles/dev");
    await assert.rejects(joe.login(), refused(/role "dev", which does not exist/));
  }));

Deno.test("a TTL under a minute and a key that is none are told as what they are", () =>
  withAuth(async ({ enrol, clock }) => {
    const joe = await enrol("joe");
    await assert.rejects(joe.login({ ttl_ms: 59_999 }), BadParameter);
    clock.advance(30_000);
    await assert.rejects(joe.login({ public_key: "ssh-ed25519 AAAA" }), BadParameter);
  }));

Deno.test("password and code appear in no event (attack 50)", () =>
  withAuth(async ({ enrol, events }) => {
    const joe = await enrol("joe");
    const code = joe.code();
    await joe.login();
    await joe.login({ password: "some wrong one" }).catch(() => {});
    const text = JSON.stringify(events);
    for (const secret of [joe.password, "some wrong one", code, joe.secret]) {
      assert.ok(!text.includes(secret));
    }
  }));

import assert from "node:assert/strict";
import { AccessDenied, AlreadyExists, BadParameter, NotFound } from "../base/errors.ts";
import { configureLog } from "../base/log.ts";
import { ADMIN, Person, PROXY, type TestAuth, testRole, withAuth } from "./testing.ts";

configureLog({ level: "off", format: "text" });

const HOUR = 3600_000;

async function invited(auth: TestAuth, ttl_ms?: number) {
  const { token, expires } = await auth.call(ADMIN, "users.create", {
    name: "joe",
    logins: ["joe", "root"],
    ...(ttl_ms === undefined ? {} : { ttl_ms }),
  });
  const person = new Person("joe", auth.clock, auth.call);
  const info = await auth.call(PROXY, "signup.get", { token });
  person.secret = info.otp_secret!;
  const complete = (over: { password?: string; otp_token?: string } = {}) =>
    auth.call(PROXY, "signup.complete", {
      token,
      password: person.password,
      otp_token: person.code(),
      ...over,
    });
  return { token, expires, person, info, complete };
}

Deno.test("users.create makes the user with role admin and a link for one hour", () =>
  withAuth(async (auth) => {
    const { token, expires, info } = await invited(auth);
    assert.match(token, /^[0-9a-f]{32}$/);
    assert.equal(Date.parse(expires), auth.clock.now() + HOUR);
    assert.equal(info.user, "joe");
    assert.equal(info.kind, "invite");
    assert.match(info.otp_uri!, /^otpauth:\/\/totp\//);
    const { users } = await auth.call(ADMIN, "users.list", {});
    assert.deepEqual(users[0]!.spec.roles, ["admin"]);
    assert.deepEqual(users[0]!.spec.traits, { logins: ["joe", "root"] });
    assert.equal(users[0]!.spec.created_by!.user!.name, "builtin-Admin");
    assert.deepEqual(auth.events.map((e) => e.code), ["T1002I", "T6000I"]);
  }));

Deno.test("logins default to the user's own name", () =>
  withAuth(async ({ call }) => {
    await call(ADMIN, "users.create", { name: "ann" });
    const { users } = await call(ADMIN, "users.list", {});
    assert.deepEqual(users[0]!.spec.traits, { logins: ["ann"] });
  }));

Deno.test("a link works once: also for two at the same moment (attack 49)", () =>
  withAuth(async (auth) => {
    const { complete, token } = await invited(auth);
    const results = await Promise.allSettled([complete(), complete(), complete()]);
    assert.equal(results.filter((r) => r.status === "fulfilled").length, 1);
    await assert.rejects(complete(), NotFound);
    await assert.rejects(auth.call(PROXY, "signup.get", { token }), NotFound);
    assert.equal(auth.eventsOf("user.password_change").length, 1);
  }));

Deno.test("a link expires, at the latest after 48 hours, a reset's after 24 (attack 49)", () =>
  withAuth(async (auth) => {
    const { complete } = await invited(auth, 48 * HOUR);
    auth.clock.advance(48 * HOUR);
    await assert.rejects(complete(), NotFound);
    await assert.rejects(
      auth.call(ADMIN, "users.create", { name: "ann", ttl_ms: 48 * HOUR + 1 }),
      /at most 48h0m0s/,
    );
    assert.equal((await auth.call(ADMIN, "users.list", {})).users.length, 1);
    const { expires } = await auth.call(ADMIN, "users.reset", { name: "joe" });
    assert.equal(Date.parse(expires), auth.clock.now() + 8 * HOUR);
    await assert.rejects(
      auth.call(ADMIN, "users.reset", { name: "joe", ttl_ms: 24 * HOUR + 1 }),
      /at most 24h0m0s/,
    );
  }));

Deno.test("links are kept as hashes and are in no event (attack 49)", () =>
  withAuth(async (auth) => {
    const { token } = await invited(auth);
    const stored = JSON.stringify(await auth.backend.range("/"));
    assert.ok(!stored.includes(token));
    assert.ok(!JSON.stringify(auth.events).includes(token));
  }));

Deno.test("a wrong code or a bad password leaves the link as it is", () =>
  withAuth(async (auth) => {
    const { complete } = await invited(auth);
    await assert.rejects(complete({ otp_token: "000000" }), AccessDenied);
    await assert.rejects(complete({ password: "short" }), BadParameter);
    await complete();
  }));

Deno.test("the code that proved the authenticator is used up (attack 45)", () =>
  withAuth(async (auth) => {
    const { complete, person } = await invited(auth);
    await complete();
    await assert.rejects(person.login(), AccessDenied);
    auth.clock.advance(30_000);
    await person.login();
  }));

Deno.test("a new link takes the place of the older one", () =>
  withAuth(async (auth) => {
    const { complete } = await invited(auth);
    await auth.call(ADMIN, "users.reset", { name: "joe" });
    await assert.rejects(complete(), NotFound);
  }));

Deno.test("a reset with a TTL that is refused changes nothing", () =>
  withAuth(async ({ enrol, call }) => {
    const joe = await enrol("joe");
    await assert.rejects(
      call(ADMIN, "users.reset", { name: "joe", ttl_ms: 100 * HOUR }),
      BadParameter,
    );
    await joe.login();
  }));

Deno.test("the link of a deleted user sets no password", () =>
  withAuth(async (auth) => {
    const { complete } = await invited(auth);
    await auth.call(ADMIN, "users.delete", { name: "joe" });
    await assert.rejects(complete(), NotFound);
    assert.deepEqual(await auth.backend.range("/passwords/"), []);
    assert.deepEqual(await auth.backend.range("/invites/"), []);
  }));

Deno.test("names and logins that mean something to somebody are refused (attack 40)", () =>
  withAuth(async ({ call }) => {
    for (const name of ["a/b", "..", "-x", "a b", "a,b", "a\nb", "ü", "*", "a:b"]) {
      await assert.rejects(call(ADMIN, "users.create", { name }), BadParameter, name);
      await assert.rejects(
        call(ADMIN, "users.create", { name: "joe", logins: [name === "a:b" ? "a b" : name] }),
        BadParameter,
        name,
      );
    }
    const nologin = "-teleport-nologin-11111111-1111-4111-8111-111111111111";
    await assert.rejects(
      call(ADMIN, "users.create", { name: "joe", logins: [nologin] }),
      BadParameter,
    );
    assert.deepEqual((await call(ADMIN, "users.list", {})).users, []);
  }));

Deno.test("a user exists once and has roles that exist", () =>
  withAuth(async ({ call }) => {
    await call(ADMIN, "users.create", { name: "joe" });
    await assert.rejects(call(ADMIN, "users.create", { name: "joe" }), (e: Error) => {
      assert.ok(e instanceof AlreadyExists);
      assert.equal(e.message, 'user "joe" already exists');
      return true;
    });
    await assert.rejects(call(ADMIN, "users.create", { name: "ann", roles: ["x"] }), NotFound);
    await assert.rejects(call(ADMIN, "users.update", { name: "joe", roles: ["x"] }), NotFound);
    await assert.rejects(call(ADMIN, "users.update", { name: "joe", roles: [] }), BadParameter);
    await assert.rejects(call(ADMIN, "users.update", { name: "bob", roles: [] }), NotFound);
    await assert.rejects(call(ADMIN, "users.delete", { name: "bob" }), NotFound);
    await assert.rejects(call(ADMIN, "users.reset", { name: "bob" }), NotFound);
  }));

Deno.test("users.update and users.delete are logged with who did it", () =>
  withAuth(async ({ call, events }) => {
    await call(ADMIN, "resources.create", { resource: testRole("dev") });
    await call(ADMIN, "users.create", { name: "joe" });
    const { user } = await call(ADMIN, "users.update", { name: "joe", roles: ["dev"] });
    assert.deepEqual(user.spec.roles, ["dev"]);
    await call(ADMIN, "users.delete", { name: "joe" });
    assert.deepEqual(
      events.map((e) => [e.code, (e as { user: string }).user, (e as { name?: string }).name]),
      [
        ["T9000I", "builtin-Admin", "dev"],
        ["T1002I", "builtin-Admin", "joe"],
        ["T6000I", "builtin-Admin", "joe"],
        ["T1003I", "builtin-Admin", "joe"],
        ["T1004I", "builtin-Admin", "joe"],
      ],
    );
  }));

Deno.test("users.update: of changes at one time none is lost", () =>
  withAuth(async ({ call }) => {
    await call(ADMIN, "resources.create", { resource: testRole("dev") });
    await call(ADMIN, "users.create", { name: "joe" });
    await Promise.all([
      call(ADMIN, "users.update", { name: "joe", roles: ["dev"] }),
      call(ADMIN, "users.update", { name: "joe", logins: ["root"] }),
    ]);
    const { users: [user] } = await call(ADMIN, "users.list", {});
    assert.deepEqual(user!.spec.roles, ["dev"]);
    assert.deepEqual(user!.spec.traits.logins, ["root"]);
  }));

Deno.test("users.list shows who is locked by failed logins", () =>
  withAuth(async ({ enrol, call, clock }) => {
    const joe = await enrol("joe");
    for (let i = 0; i < 5; i++) await joe.login({ password: "wrong one" }).catch(() => {});
    const { users: [user] } = await call(ADMIN, "users.list", {});
    assert.equal(user!.spec.status.is_locked, true);
    assert.equal(Date.parse(user!.spec.status.lock_expires!), clock.now() + 20 * 60_000);
  }));

Deno.test("a role in use, and admin, cannot be deleted; others can", () =>
  withAuth(async ({ call }) => {
    await call(ADMIN, "resources.create", { resource: testRole("dev") });
    await call(ADMIN, "users.create", { name: "joe", roles: ["dev"] });
    const remove = (name: string) => call(ADMIN, "resources.delete", { kind: "role", name });
    await assert.rejects(remove("dev"), /in use by: joe/);
    await assert.rejects(remove("admin"), BadParameter);
    await assert.rejects(remove("none"), NotFound);
    await call(ADMIN, "users.update", { name: "joe", roles: ["admin"] });
    await remove("dev");
  }));

Deno.test("resources.create: -f replaces, without it a duplicate is refused; bad patterns too", () =>
  withAuth(async ({ call }) => {
    const role = testRole("dev");
    assert.equal((await call(ADMIN, "resources.create", { resource: role })).created, true);
    await assert.rejects(
      call(ADMIN, "resources.create", { resource: role }),
      /role "dev" already exists/,
    );
    const again = await call(ADMIN, "resources.create", { resource: role, force: true });
    assert.equal(again.created, false);
    const bad = testRole("bad", (r) => r.spec.allow.node_labels = { env: ["^(a$"] });
    await assert.rejects(call(ADMIN, "resources.create", { resource: bad }), BadParameter);
    await assert.rejects(
      call(ADMIN, "resources.create", { resource: { ...role, surprise: 1 } }),
      /surprise/,
    );
    await assert.rejects(
      call(ADMIN, "resources.create", { resource: { kind: "node", version: "v2" } }),
      BadParameter,
    );
  }));

Deno.test("resources.list gives authorities without private keys unless asked with_secrets", () =>
  withAuth(async ({ call }) => {
    const list = async (with_secrets: boolean, name?: string) =>
      JSON.stringify(
        await call(ADMIN, "resources.list", {
          kind: "cert_authority",
          with_secrets,
          ...(name && { name }),
        }),
      );
    assert.ok(!/PRIVATE KEY/.test(await list(false)));
    assert.ok(/OPENSSH PRIVATE KEY/.test(await list(true, "user")));
    await assert.rejects(list(false, "nobody"), NotFound);
  }));

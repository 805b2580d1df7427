import assert from "node:assert/strict";
import type { ApiParams } from "../../api/contract.ts";
import { toBase64, utf8Encode } from "../../base/bytes.ts";
import { FakeClock } from "../../base/clock.ts";
import {
  AccessDenied,
  ConnectionProblem,
  NotFound,
  type TeleportError,
} from "../../base/errors.ts";
import { createWebHandler, type WebBackend, type WebHandler } from "./app.ts";
import { RateLimit } from "./rate_limit.ts";

const CLIENT = { host: "192.0.2.7", port: 40000 };
const KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== joe";

interface Call {
  method: string;
  params: unknown;
}

function setUp(answer: (method: string) => unknown = () => ({})): {
  handler: WebHandler;
  calls: Call[];
  clock: FakeClock;
} {
  const calls: Call[] = [];
  const clock = new FakeClock();
  const backend = {
    call: (method: string, params: unknown) => {
      calls.push({ method, params });
      const value = answer(method);
      return value instanceof Error ? Promise.reject(value) : Promise.resolve(value);
    },
    ping: () => Promise.resolve({ auth: { type: "local", second_factor: "otp" } }),
    find: () => ({ cluster_name: "main" }),
  } as WebBackend;
  const rate = new RateLimit({ perSecond: 10, clock });
  return { handler: createWebHandler(backend, { rate }), calls, clock };
}

function post(path: string, body: unknown, headers: Record<string, string> = {}): Request {
  return new Request(`https://proxy${path}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
}

const LOGIN = {
  user: "joe",
  password: "secret password",
  otp_token: "123456",
  pub_key: toBase64(utf8Encode(KEY)),
  ttl: 43_200_000_000_000,
  compatibility: "",
};

const CERTIFICATES = {
  username: "joe",
  cert: "ssh-ed25519-cert-v01@openssh.com AAAA",
  tls_cert: "-----BEGIN CERTIFICATE-----",
  host_signers: [{ domain_name: "main", checking_keys: ["ssh-ed25519 AAAA"], tls_certs: ["PEM"] }],
};

Deno.test("POST ssh/certs passes the login on and answers in Teleport's shape", async () => {
  const { handler, calls } = setUp(() => CERTIFICATES);
  const response = await handler(post("/webapi/ssh/certs", LOGIN), CLIENT);
  assert.equal(response.status, 200);
  assert.deepEqual(await response.json(), {
    username: "joe",
    cert: btoa(CERTIFICATES.cert),
    tls_cert: btoa(CERTIFICATES.tls_cert),
    host_signers: [{
      domain_name: "main",
      checking_keys: [btoa("ssh-ed25519 AAAA")],
      tls_certs: [btoa("PEM")],
    }],
  });
  const expected: ApiParams<"auth.login"> = {
    user: "joe",
    password: "secret password",
    otp_token: "123456",
    public_key: KEY,
    ttl_ms: 43_200_000,
    client_addr: "192.0.2.7:40000",
  };
  assert.deepEqual(calls, [{ method: "auth.login", params: expected }]);
});

Deno.test("both /webapi and /v1/webapi are served", async () => {
  const { handler } = setUp();
  for (const base of ["/webapi", "/v1/webapi"]) {
    const response = await handler(new Request(`https://proxy${base}/find`), CLIENT);
    assert.deepEqual(await response.json(), { cluster_name: "main" });
  }
});

Deno.test("ping says how one logs in", async () => {
  const { handler } = setUp();
  const response = await handler(new Request("https://proxy/webapi/ping"), CLIENT);
  assert.deepEqual(await response.json(), { auth: { type: "local", second_factor: "otp" } });
});

const STATUSES: [TeleportError, number][] = [
  [new AccessDenied("invalid username, password or second factor"), 403],
  [new NotFound("this link is not valid"), 404],
];

for (const [error, status] of STATUSES) {
  Deno.test(`an error of kind ${error.code} is answered with ${status} and its message`, async () => {
    const { handler } = setUp(() => error);
    const response = await handler(post("/webapi/ssh/certs", LOGIN), CLIENT);
    assert.equal(response.status, status);
    assert.deepEqual(await response.json(), {
      error: { code: error.code, message: error.message },
    });
  });
}

Deno.test("that the auth service is away is said without where it is", async () => {
  const { handler } = setUp(() => new ConnectionProblem("10.0.0.9:3025: Connection refused"));
  const response = await handler(post("/webapi/ssh/certs", LOGIN), CLIENT);
  assert.equal(response.status, 502);
  const { error } = await response.json();
  assert.equal(error.code, "connection_problem");
  assert.match(error.message, /auth service is away/);
  assert.doesNotMatch(error.message, /10\.0\.0\.9/);
});

Deno.test("an error that is our own fault is answered without its detail", async () => {
  const { handler } = setUp(() => new TypeError("x is undefined at /srv/secret.ts"));
  const response = await handler(post("/webapi/ssh/certs", LOGIN), CLIENT);
  assert.equal(response.status, 500);
  const { error } = await response.json();
  assert.equal(error.code, "internal");
  assert.doesNotMatch(error.message, /undefined|secret/);
});

Deno.test("a signup link is looked up and completed", async () => {
  const info = {
    user: "joe",
    kind: "invite",
    second_factor: "otp",
    expires: "2026-01-01T00:00:00Z",
  };
  const { handler, calls } = setUp((method) => method === "signup.get" ? info : { user: "joe" });
  const path = "/webapi/users/password/token";
  const looked = await handler(new Request(`https://proxy${path}/${"a".repeat(32)}`), CLIENT);
  assert.deepEqual(await looked.json(), info);
  const request = new Request(`https://proxy${path}`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ token: "t", password: "p", second_factor_token: "123456" }),
  });
  assert.deepEqual(await (await handler(request, CLIENT)).json(), { user: "joe" });
  assert.deepEqual(calls, [
    { method: "signup.get", params: { token: "a".repeat(32) } },
    { method: "signup.complete", params: { token: "t", password: "p", otp_token: "123456" } },
  ]);
});

const WRONG_METHODS: [string, string, string][] = [
  ["GET", "/webapi/ssh/certs", "POST"],
  ["PUT", "/webapi/ssh/certs", "POST"],
  ["POST", "/webapi/ping", "GET, HEAD"],
  ["DELETE", "/webapi/users/password/token/x", "GET, HEAD"],
  ["POST", "/webapi/users/password/token", "PUT"],
];

for (const [method, path, allow] of WRONG_METHODS) {
  Deno.test(`${method} ${path} is answered with 405 and what is allowed`, async () => {
    const { handler, calls } = setUp();
    const response = await handler(new Request(`https://proxy${path}`, { method }), CLIENT);
    assert.equal(response.status, 405);
    assert.equal(response.headers.get("allow"), allow);
    assert.deepEqual(calls, []);
  });
}

Deno.test("an unknown path is a 404 in JSON", async () => {
  const { handler } = setUp();
  for (const path of ["/", "/webapi", "/webapi/sessions", "/web/login", "/..%2f..%2fetc/passwd"]) {
    const response = await handler(new Request(`https://proxy${path}`), CLIENT);
    assert.equal(response.status, 404, path);
    assert.equal((await response.json()).error.code, "not_found");
  }
});

Deno.test("every answer carries the security headers", async () => {
  const { handler } = setUp(() => new AccessDenied("no"));
  const requests = [
    new Request("https://proxy/webapi/ping"),
    new Request("https://proxy/nothing"),
    post("/webapi/ssh/certs", LOGIN),
    new Request("https://proxy/webapi/ping", { method: "POST" }),
  ];
  for (const request of requests) {
    const { headers } = await handler(request, CLIENT);
    assert.equal(headers.get("x-content-type-options"), "nosniff");
    assert.equal(headers.get("cache-control"), "no-store");
    assert.match(headers.get("content-security-policy") ?? "", /default-src 'none'/);
    assert.match(headers.get("strict-transport-security") ?? "", /max-age/);
    assert.equal(headers.get("access-control-allow-origin"), null);
  }
});

const BAD_BODIES: [string, unknown][] = [
  ["not JSON", "{"],
  ["no user", { ...LOGIN, user: undefined }],
  ["a password that is no text", { ...LOGIN, password: { $ne: 1 } }],
  ["a password of 2000 characters", { ...LOGIN, password: "x".repeat(2000) }],
  ["a key that is no base64", { ...LOGIN, pub_key: "!" }],
  ["a negative ttl", { ...LOGIN, ttl: -1 }],
  ["an unknown compatibility", { ...LOGIN, compatibility: "oldssh" }],
  ["a list", []],
  ["null", "null"],
];

for (const [what, body] of BAD_BODIES) {
  Deno.test(`a login with ${what} is a 400 and reaches nobody`, async () => {
    const { handler, calls } = setUp();
    const response = await handler(post("/webapi/ssh/certs", body), CLIENT);
    assert.equal(response.status, 400);
    assert.deepEqual(calls, []);
  });
}

Deno.test("attack 50: what is said about a bad body does not quote it", async () => {
  const { handler } = setUp();
  for (const body of [`{"password": "hunter2" oops`, { ...LOGIN, password: ["hunter2"] }]) {
    const text = await (await handler(post("/webapi/ssh/certs", body), CLIENT)).text();
    assert.doesNotMatch(text, /hunter2/);
  }
});

Deno.test("attack 51: a form of another site cannot log in: the content type must be JSON", async () => {
  for (const type of ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"]) {
    const { handler, calls } = setUp();
    const request = post("/webapi/ssh/certs", LOGIN, { "content-type": type });
    assert.equal((await handler(request, CLIENT)).status, 400);
    assert.deepEqual(calls, []);
  }
});

Deno.test("a body over 64 KiB is refused, declared or not", async () => {
  const { handler, calls } = setUp();
  const declared = post("/webapi/ssh/certs", { ...LOGIN, pad: "x".repeat(70_000) }, {
    "content-length": "70000",
  });
  assert.equal((await handler(declared, CLIENT)).status, 413);
  let sent = 0;
  const endless = new Request("https://proxy/webapi/ssh/certs", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: new ReadableStream({
      pull(controller) {
        sent += 1024;
        controller.enqueue(new Uint8Array(1024));
      },
    }),
  });
  assert.equal((await handler(endless, CLIENT)).status, 413);
  assert.ok(sent < 128 * 1024, `read ${sent} bytes`);
  assert.deepEqual(calls, []);
});

Deno.test("attack 48: the eleventh try within a second is refused, for every endpoint together", async () => {
  const { handler, calls, clock } = setUp(() => new AccessDenied("no"));
  for (let i = 0; i < 9; i++) await handler(post("/webapi/ssh/certs", LOGIN), CLIENT);
  await handler(new Request("https://proxy/webapi/users/password/token/x"), CLIENT);
  const refused = await handler(post("/v1/webapi/ssh/certs", LOGIN), CLIENT);
  assert.equal(refused.status, 429);
  assert.equal(refused.headers.get("retry-after"), "1");
  assert.equal(calls.length, 10);
  const other = await handler(post("/webapi/ssh/certs", LOGIN), { host: "192.0.2.8", port: 1 });
  assert.equal(other.status, 403);
  clock.advance(1000);
  assert.equal((await handler(post("/webapi/ssh/certs", LOGIN), CLIENT)).status, 403);
});

Deno.test("prototype pollution in a body has no effect", async () => {
  const { handler } = setUp(() => CERTIFICATES);
  const body = JSON.stringify(LOGIN).replace("{", '{"__proto__":{"polluted":1},');
  assert.equal((await handler(post("/webapi/ssh/certs", body), CLIENT)).status, 200);
  assert.equal(({} as Record<string, unknown>).polluted, undefined);
});

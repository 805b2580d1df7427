import assert from "node:assert/strict";
import { utf8Encode } from "../base/bytes.ts";
import { AccessDenied, BadParameter, ConnectionProblem } from "../base/errors.ts";
import { caPin } from "../cert/x509.ts";
import { userOf } from "./identity.ts";
import { login, type LoginOptions } from "./login.ts";
import { fakeProxy } from "./test_web.ts";
import { fetchCertificateChain, readChain } from "./tls_probe.ts";
import { trustProxy } from "./trust.ts";

function loginTo(port: number, options: Partial<LoginOptions> = {}) {
  const answers = ["secret", " 123456 "];
  return login({
    proxy: { host: "localhost", webPort: port, webPortGiven: true },
    user: "joe",
    ttlMs: 3_600_000,
    knownAuthorities: [],
    prompter: () =>
      Promise.resolve({
        secret: () => Promise.resolve(answers.shift() ?? ""),
        line: () => Promise.resolve(answers.shift() ?? ""),
      }),
    warn: () => {},
    ...options,
  });
}

Deno.test("login() with a pin gives an identity that matches the key it made", async () => {
  await using proxy = await fakeProxy();
  const { identity, profile } = await loginTo(proxy.port, { pin: proxy.pin });
  assert.equal(userOf(identity.certificate), "joe");
  assert.equal(identity.cluster, "main");
  assert.deepEqual(profile.ssh, { host: "localhost", port: 4023 });
  assert.deepEqual(identity.hostKeys.length, 1);
  const [request] = proxy.requests;
  assert.equal(request?.otp_token, "123456");
  assert.equal(request?.ttl, 3_600_000 * 1e6);
  // What was learnt is enough for the next time, without a pin.
  await loginTo(proxy.port, { knownAuthorities: identity.tlsAuthorities });
});

Deno.test("a pin of another cluster stops the login before anything is asked or said", async () => {
  await using proxy = await fakeProxy();
  let asked = false;
  const prompter = () => {
    asked = true;
    return Promise.reject(new Error("asked"));
  };
  await assert.rejects(
    loginTo(proxy.port, { pin: `sha256:${"0".repeat(64)}`, prompter }),
    /does not have the CA with the pin/,
  );
  await assert.rejects(loginTo(proxy.port, { pin: "abc", prompter }), /--ca-pin cannot be read/);
  assert.equal(asked, false);
  assert.deepEqual(proxy.requests, []);
});

Deno.test("attack 22: an unknown authority is never trusted silently", async () => {
  await using proxy = await fakeProxy();
  await assert.rejects(loginTo(proxy.port), (e) => {
    assert.ok(e instanceof AccessDenied);
    assert.ok(e.message.includes(proxy.pin), e.message);
    assert.match(e.message, /--ca-pin/);
    return true;
  });
  const questions: string[] = [];
  const answer = (yes: boolean) => (question: string) => {
    questions.push(question);
    return Promise.resolve(yes);
  };
  await assert.rejects(loginTo(proxy.port, { confirm: answer(false) }), /not trusted/);
  assert.deepEqual(proxy.requests, []);
  await loginTo(proxy.port, { confirm: answer(true) });
  assert.ok(questions[0]?.includes(proxy.pin));
});

Deno.test("an authority that differs from the one trusted before is refused, without a question", async () => {
  await using proxy = await fakeProxy();
  await using other = await fakeProxy();
  await assert.rejects(
    loginTo(proxy.port, {
      knownAuthorities: [other.ca],
      confirm: () => Promise.reject(new Error("asked")),
    }),
    /not from the authority that was trusted before/,
  );
});

Deno.test("--insecure warns, goes on, and stores no authority", async () => {
  await using proxy = await fakeProxy();
  const warnings: string[] = [];
  const { identity } = await loginTo(proxy.port, {
    insecure: true,
    warn: (text) => warnings.push(text),
  });
  assert.match(
    warnings.join(),
    /You are using insecure connection to SSH proxy https:\/\/localhost/,
  );
  assert.deepEqual(identity.tlsAuthorities, []);
});

Deno.test("the name in the certificate is checked, also with the right pin", async () => {
  await using proxy = await fakeProxy({ names: ["other.example.com"] });
  await assert.rejects(
    loginTo(proxy.port, { pin: proxy.pin }),
    /is for other names than localhost/,
  );
});

Deno.test("a wrong password is told as the proxy says it", async () => {
  await using proxy = await fakeProxy();
  const prompter = () =>
    Promise.resolve({ secret: () => Promise.resolve("wrong"), line: () => Promise.resolve("") });
  await assert.rejects(loginTo(proxy.port, { pin: proxy.pin, prompter }), {
    name: "AccessDenied",
    message: "invalid username, password or second factor",
  });
});

Deno.test("what is no Teleport proxy is told from one that is", async () => {
  await using web = await fakeProxy({ answer: () => new Response("hello", { status: 404 }) });
  await assert.rejects(loginTo(web.port, { pin: web.pin }), /no Teleport proxy says/);
  await using redirect = await fakeProxy({
    answer: () => Response.redirect("https://evil.example.com/", 307),
  });
  await assert.rejects(loginTo(redirect.port, { pin: redirect.pin }));
  await using empty = await fakeProxy({ answer: () => Response.json({}) });
  await assert.rejects(loginTo(empty.port, { pin: empty.pin }), /cannot be understood/);
});

Deno.test("trustProxy() says when nobody listens, and when it is not HTTPS", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const address = { host: "127.0.0.1", port: listener.addr.port };
  const trust = () => trustProxy({ address, known: [], warn: () => {} });
  const answered = (async () => {
    const conn = await listener.accept();
    await conn.write(utf8Encode("SSH-2.0-OpenSSH\r\n"));
    conn.close();
  })();
  await assert.rejects(trust(), ConnectionProblem);
  await answered;
  listener.close();
  await assert.rejects(trust(), (e) => {
    assert.ok(e instanceof ConnectionProblem);
    assert.match(e.message, /connection refused; check the address given by --proxy/);
    return true;
  });
});

Deno.test("fetchCertificateChain() reads what the server shows", async () => {
  await using proxy = await fakeProxy();
  const chain = await fetchCertificateChain({ host: "127.0.0.1", port: proxy.port });
  assert.equal(chain.length, 2);
  assert.equal(caPin(chain[1]!), proxy.pin);
});

Deno.test("readChain() refuses nonsense of any shape", async () => {
  const answers = [
    [],
    [22, 3, 3, 0, 4, 11, 0, 0, 0],
    [21, 3, 3, 0, 2, 2, 70],
    [72, 84, 84, 80, 47, 49],
    [22, 3, 3, 0, 10, 11, 0, 0, 6, 0, 0, 3, 255, 255, 255],
  ];
  for (const answer of answers) {
    const chunks = [Uint8Array.from(answer)];
    const read = (buffer: Uint8Array) => {
      const chunk = chunks.shift();
      if (!chunk) return Promise.resolve(null);
      buffer.set(chunk);
      return Promise.resolve(chunk.length);
    };
    await assert.rejects(readChain(read), Error, String(answer));
  }
});

Deno.test("login() refuses names that could leave the profile directory or mean something to a shell", async () => {
  for (const user of ["../joe", "..", "a/b", "-x", "$(id)", ""]) {
    await assert.rejects(loginTo(1, { user }), BadParameter, user);
  }
});

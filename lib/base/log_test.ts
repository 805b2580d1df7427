import assert from "node:assert/strict";
import { AccessDenied } from "./errors.ts";
import { configureLog, formatRecord, log, type LogFields } from "./log.ts";

const time = new Date("2025-01-02T03:04:05.678Z");
const text = (message: string, fields: LogFields) =>
  formatRecord({ time, level: "info", component: "auth", message, fields }, "text");
const json = (message: string, fields: LogFields) =>
  JSON.parse(formatRecord({ time, level: "info", component: "auth", message, fields }, "json"));

Deno.test("formatRecord() writes one line of text", () => {
  assert.equal(
    text("User logged in", { user: "joe", from: "10.0.0.1:5", count: 2, why: "two words" }),
    '2025-01-02T03:04:05.678Z INFO  [AUTH] User logged in user=joe from=10.0.0.1:5 count=2 why="two words"',
  );
});

Deno.test("formatRecord() writes one JSON object, whose head fields cannot be forged", () => {
  assert.deepEqual(json("hello", { user: "joe", level: "error", message: "forged" }), {
    user: "joe",
    time: "2025-01-02T03:04:05.678Z",
    level: "info",
    component: "auth",
    message: "hello",
  });
});

Deno.test("attack 49, 50: formatRecord() redacts fields that are named like secrets", () => {
  const secrets = {
    password: "s3cret",
    joinToken: "s3cret",
    otp_token: "s3cret",
    "private-key": "s3cret",
    clientSecret: "s3cret",
    signing_keys: ["s3cret"],
    nested: { list: [{ TOTP: "s3cret" }] },
    map: new Map([["token", "s3cret"]]),
  };
  assert(!text("m", secrets).includes("s3cret"));
  assert(!JSON.stringify(json("m", secrets)).includes("s3cret"));
  assert.equal(json("m", { key_id: "joe", tokens_left: 3 })["key_id"], "joe");
});

Deno.test("attack 44: formatRecord() keeps outside text on its line and harmless", () => {
  const line = text("name \x1b[2J\n2025 forged", { user: "a\nb \x1b]0;x\x07" });
  for (const character of "\n\x1b\x07") assert(!line.includes(character));
});

Deno.test("formatRecord() shows errors with their causes, and stacks of foreign ones", () => {
  const fields = json("m", { err: new AccessDenied("no", { cause: new TypeError("deep") }) });
  assert.equal(fields.err.error, "no");
  assert.equal(fields.err.code, "access_denied");
  assert.equal(fields.err.stack, undefined);
  assert.match(fields.err.cause.stack, /deep/);
});

Deno.test("formatRecord() takes whatever value it is given", () => {
  const circular: LogFields = {};
  circular["self"] = circular;
  const error = new Error("e");
  error.cause = error;
  assert.equal(json("m", { n: 1n, bytes: new Uint8Array(3) }).bytes, "<3 bytes>");
  text("m", { circular, u: undefined, f: () => 1, d: new Date(0), s: Symbol("x"), nan: NaN });
  json("m", { circular, error, d: new Date(NaN) });
});

Deno.test("log() appends to the configured file, from the configured level on", async () => {
  const dir = await Deno.makeTempDir();
  const path = `${dir}/teleport.log`;
  try {
    configureLog({ level: "info", format: "json", output: path });
    const logger = log("node");
    logger.debug("not this");
    logger.info("this");
    logger.error("and this", { code: 7 });
    configureLog({ level: "error", format: "text" });
    const lines = (await Deno.readTextFile(path)).trimEnd().split("\n").map((l) => JSON.parse(l));
    assert.deepEqual(lines.map((l) => [l.level, l.component, l.message, l.code]), [
      ["info", "node", "this", undefined],
      ["error", "node", "and this", 7],
    ]);
    assert.equal((await Deno.stat(path)).mode! & 0o777, 0o600);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

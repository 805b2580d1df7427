import assert from "node:assert/strict";
import {
  AccessDenied,
  BadParameter,
  ConnectionProblem,
  errorFromCode,
  InternalError,
  messageOf,
  NotFound,
  TeleportError,
  toTeleportError,
} from "./errors.ts";

Deno.test("errorFromCode() gives the class whose code it is", () => {
  for (
    const code of [
      "bad_parameter",
      "access_denied",
      "not_found",
      "already_exists",
      "compare_failed",
      "limit_exceeded",
      "connection_problem",
      "internal",
    ]
  ) {
    const error = errorFromCode(code, "why");
    assert.equal(error.code, code);
    assert.equal(error.message, "why");
    assert.equal(error.name, error.constructor.name);
  }
});

Deno.test("errorFromCode() takes unknown codes, inherited names included, for internal", () => {
  for (const code of ["", "nonsense", "toString", "__proto__", "constructor"]) {
    assert(errorFromCode(code, "why") instanceof InternalError);
  }
});

Deno.test("toTeleportError() passes ours unchanged", () => {
  const error = new AccessDenied("no");
  assert.equal(toTeleportError(error), error);
});

Deno.test("toTeleportError() maps what the operating system says", async () => {
  const missing = await Deno.open("/nonexistent/file").catch((e) => e);
  assert(toTeleportError(missing) instanceof NotFound);
  assert.equal(toTeleportError(missing).cause, missing);
  assert(toTeleportError(new Deno.errors.ConnectionReset("x")) instanceof ConnectionProblem);
  assert(toTeleportError(new Deno.errors.PermissionDenied("x")) instanceof AccessDenied);
});

Deno.test("toTeleportError() takes anything else for internal and keeps it as the cause", () => {
  for (const thrown of [new TypeError("x is undefined"), "text", undefined, null, 7]) {
    const error = toTeleportError(thrown);
    assert(error instanceof InternalError && error instanceof TeleportError);
    assert.equal(error.cause, thrown);
  }
});

Deno.test("messageOf() says something about whatever was thrown", () => {
  assert.equal(messageOf(new BadParameter("bad")), "bad");
  assert.equal(messageOf(new TypeError()), "TypeError");
  assert.equal(messageOf("text"), "text");
  assert.equal(messageOf(undefined), "undefined");
});

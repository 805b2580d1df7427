/** Errors of the web API: the one place where a kind of error becomes an HTTP status. */
import { type ErrorCode, toTeleportError } from "../../base/errors.ts";
import { randomHex } from "../../base/ids.ts";
import { log } from "../../base/log.ts";
import { BodyTooLarge, BodyTooSlow } from "./body.ts";

const STATUS: Record<ErrorCode, number> = {
  bad_parameter: 400,
  access_denied: 403,
  not_found: 404,
  already_exists: 409,
  compare_failed: 412,
  limit_exceeded: 429,
  connection_problem: 502,
  internal: 500,
};

/** Seconds after which a client that was too fast may try again. */
const RETRY_AFTER_S = 1;

/**
 * `{error: {code, message}}` with the status of the error's kind. What is our own fault is said
 * without detail, under a number that stands in the log with everything.
 */
export function errorResponse(error: unknown): Response {
  if (error instanceof BodyTooLarge) return answer(error.code, error.message, 413);
  if (error instanceof BodyTooSlow) return answer(error.code, error.message, 408);
  const known = toTeleportError(error);
  if (known.code === "connection_problem") {
    // Who asks here may be anybody: which server is where is for the log.
    log("web").debug("The auth service is away", { error: known.message });
    return answer(known.code, "the cluster's auth service is away; try again in a moment");
  }
  if (known.code !== "internal") return answer(known.code, known.message);
  const reference = randomHex(4);
  log("web").error("A request has failed", { reference, error: known });
  return answer("internal", `the proxy could not do this; its log says why under ${reference}`);
}

function answer(code: ErrorCode, message: string, status = STATUS[code]): Response {
  return Response.json({ error: { code, message } }, {
    status,
    ...(status === 429 ? { headers: { "retry-after": String(RETRY_AFTER_S) } } : {}),
  });
}

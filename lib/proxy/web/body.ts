/** Reads a request's JSON body, within limits of size and time. */
import { BadParameter, ConnectionProblem, LimitExceeded } from "../../base/errors.ts";

/** Waiting does not help with this one, so it has a status of its own: 413. */
export class BodyTooLarge extends LimitExceeded {}

/** The client's fault, unlike other connection problems: 408. */
export class BodyTooSlow extends ConnectionProblem {}

export interface BodyLimits {
  readonly bytes: number;
  /** Milliseconds until all of it must have come. */
  readonly timeoutMs: number;
}

/** Bodies with a password in them are small. */
export const LOGIN_LIMITS: BodyLimits = { bytes: 64 * 1024, timeoutMs: 10_000 };

/**
 * @throws BodyTooLarge
 * @throws BodyTooSlow
 * @throws BadParameter when it is not JSON, or not declared as JSON: a form on another site can
 * send anything but that
 */
export async function readJson(request: Request, limits = LOGIN_LIMITS): Promise<unknown> {
  const type = request.headers.get("content-type") ?? "";
  if (!/^application\/json\s*(;|$)/i.test(type)) {
    throw new BadParameter("the body must be JSON (content-type: application/json)");
  }
  const length = Number(request.headers.get("content-length") ?? 0);
  if (length > limits.bytes) throw tooLarge(limits);
  const bytes = await readLimited(request.body, limits);
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    // The parser's own message quotes the body, which may hold a password.
    throw new BadParameter("the body is not valid JSON", { cause: (error as Error).name });
  }
}

async function readLimited(
  body: ReadableStream<Uint8Array> | null,
  limits: BodyLimits,
): Promise<Uint8Array> {
  if (!body) return new Uint8Array(0);
  const reader = body.getReader();
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new BodyTooSlow("the request's body came too slowly")),
    limits.timeoutMs,
  );
  const parts: Uint8Array[] = [];
  let size = 0;
  try {
    while (true) {
      const { done, value } = await Promise.race([reader.read(), late.promise]);
      if (done) break;
      size += value.length;
      if (size > limits.bytes) throw tooLarge(limits);
      parts.push(value);
    }
  } catch (error) {
    reader.cancel().catch(() => {});
    throw error;
  } finally {
    clearTimeout(timer);
  }
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function tooLarge(limits: BodyLimits): BodyTooLarge {
  return new BodyTooLarge(`the request's body is larger than ${limits.bytes} bytes`);
}

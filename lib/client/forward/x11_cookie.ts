/** The cookie by which a display lets programs in, as xauth gives it. */
import { fromHex } from "../../base/bytes.ts";
import { ConnectionProblem, messageOf } from "../../base/errors.ts";

export interface X11Cookie {
  protocol: string;
  value: Uint8Array;
}

/** xauth talks to the display, which may not answer. */
const xauthMs = 10_000;
/** The display forgets an untrusted cookie so much later than we do. */
const slackSeconds = 60;

/** The display's own; undefined when it has none, and lets in whoever may reach it. */
export async function trustedCookie(display: string): Promise<X11Cookie | undefined> {
  try {
    return firstCookie(await xauth(["list", display]));
  } catch (e) {
    if (e instanceof XauthMissing) throw e;
    return undefined;
  }
}

/**
 * A new one, by which programs can neither watch nor steer others (the X Security extension).
 * @throws ConnectionProblem when the display does not make such cookies
 */
export async function untrustedCookie(display: string, timeoutMs: number): Promise<X11Cookie> {
  const dir = await Deno.makeTempDir({ prefix: "tsh-xauth-" });
  try {
    const file = `${dir}/xauthority`;
    const seconds = timeoutMs === 0 ? 0 : Math.ceil(timeoutMs / 1000) + slackSeconds;
    await xauth([
      ...["-f", file, "generate", display, "MIT-MAGIC-COOKIE-1", "untrusted"],
      ...["timeout", String(seconds)],
    ]);
    const cookie = firstCookie(await xauth(["-f", file, "list", display]));
    if (cookie) return cookie;
    throw new ConnectionProblem("it has made no cookie");
  } catch (e) {
    if (e instanceof XauthMissing) throw e;
    throw new ConnectionProblem(
      `the display ${display} makes no cookies for untrusted programs: ${messageOf(e)}; ` +
        "-Y forwards it to programs that are trusted with all of it",
      { cause: e },
    );
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

class XauthMissing extends ConnectionProblem {}

/** What it prints. */
async function xauth(args: readonly string[]): Promise<string> {
  let result: Deno.CommandOutput;
  try {
    result = await new Deno.Command("xauth", {
      args: [...args],
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      signal: AbortSignal.timeout(xauthMs),
    }).output();
  } catch (cause) {
    if (!(cause instanceof Deno.errors.NotFound)) throw cause;
    throw new XauthMissing("X11 forwarding needs the program xauth: install it (package xauth)", {
      cause,
    });
  }
  const decoder = new TextDecoder();
  if (result.success) return decoder.decode(result.stdout);
  // "/usr/bin/xauth: (argv):1:  what is wrong"
  const said = decoder.decode(result.stderr).trim().split("\n").at(-1)
    ?.replace(/^.*\(argv\):\d+:\s*/, "");
  throw new ConnectionProblem(said || "xauth failed");
}

/** "host/unix:0  MIT-MAGIC-COOKIE-1  0123456789abcdef" */
function firstCookie(list: string): X11Cookie | undefined {
  const [, protocol, hex] = /^\S+\s+([A-Za-z0-9-]{1,64})\s+((?:[0-9a-fA-F]{2}){1,128})\s*$/m
    .exec(list) ?? [];
  return protocol && hex ? { protocol, value: fromHex(hex) } : undefined;
}

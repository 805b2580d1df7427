/** Values that may stand in a file of their own: an absolute path in place of the secret. */

import { BadParameter, messageOf } from "../base/errors.ts";
import { parseJoinRoles } from "../resources/join_roles.ts";
import { assertTokenName } from "../resources/names.ts";
import type { JoinRole } from "../resources/types.ts";

const maxSecretBytes = 4096;

/**
 * The value, or what stands in the file that it names.
 * @param what says in an error whose value it is; the value itself never appears in one
 * @throws BadParameter
 */
async function readSecret(what: string, value: string): Promise<string> {
  if (!value.startsWith("/")) return checkSecret(what, value);
  return checkSecret(`${what} (from ${value})`, (await readSecretFile(what, value)).trim());
}

/**
 * The value, or the path as it is: a host that has joined needs its token no more, and must start
 * when the file is gone.
 * @throws BadParameter
 */
export function checkSecret(what: string, value: string): string {
  if (value.startsWith("/")) return value;
  try {
    assertTokenName(value);
  } catch (e) {
    throw new BadParameter(`${what}: ${messageOf(e)}`);
  }
  return value;
}

/**
 * "proxy,node:secret" or "node:/path/to/file".
 * @throws BadParameter
 */
export async function readStaticToken(
  what: string,
  text: string,
): Promise<{ roles: JoinRole[]; value: string }> {
  const colon = text.indexOf(":");
  if (colon < 0) {
    throw new BadParameter(
      `${what} must be roles, a colon and the token (or the path of its file), like "node:…"`,
    );
  }
  let roles: JoinRole[];
  try {
    roles = parseJoinRoles(text.slice(0, colon));
  } catch (e) {
    throw new BadParameter(`${what}: ${messageOf(e)}`, { cause: e });
  }
  return { roles, value: await readSecret(what, text.slice(colon + 1)) };
}

async function readSecretFile(what: string, path: string): Promise<string> {
  try {
    if ((await Deno.stat(path)).size > maxSecretBytes) {
      throw new BadParameter("it is too long for a token");
    }
    return await Deno.readTextFile(path);
  } catch (e) {
    throw new BadParameter(`${what}: cannot read ${path}: ${messageOf(e)}`, { cause: e });
  }
}

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
export async function readSecret(what: string, value: string): Promise<string> {
  const text = value.startsWith("/") ? (await readSecretFile(what, value)).trim() : value;
  try {
    assertTokenName(text);
  } catch (e) {
    const where = value.startsWith("/") ? `${what} (from ${value})` : what;
    throw new BadParameter(`${where}: ${messageOf(e)}`);
  }
  return text;
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

/** Finds the one session that the beginning of an id stands for. */
import type { ApiClient } from "../../api/client.ts";
import { BadParameter, NotFound } from "../../base/errors.ts";
import { isUuid } from "../../base/ids.ts";
import { printable } from "../../base/text.ts";

/** How many sessions an error names. */
const NAMED = 10;

/** @throws NotFound, BadParameter when there are several, AccessDenied */
export async function resolveSession(
  api: Pick<ApiClient, "call">,
  idOrPrefix: string,
): Promise<string> {
  if (isUuid(idOrPrefix)) return idOrPrefix;
  const { recordings, next } = await api.call("recordings.list", {
    sid_prefix: idOrPrefix,
    limit: NAMED,
  });
  const [first, ...others] = recordings;
  if (first === undefined) {
    throw new NotFound(
      `No recording is of a session whose id begins with ${JSON.stringify(idOrPrefix)}`,
    );
  }
  if (others.length === 0) return first.sid;
  const lines = recordings.map(({ sid, started, user, login, server_hostname }) =>
    `  ${sid}  ${started.slice(0, 19)}Z  ${printable(`${user}  ${login}@${server_hostname}`)}`
  );
  throw new BadParameter(
    `Several sessions begin with ${JSON.stringify(idOrPrefix)}, write more of the id:\n` +
      lines.join("\n") + (next === undefined ? "" : "\n  …"),
  );
}

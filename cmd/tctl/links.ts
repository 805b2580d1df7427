/** The links by which people choose a password. */
import type { SignupLink } from "../../lib/api/types.ts";
import { formatDuration } from "../../lib/base/duration.ts";
import type { Flags } from "../../lib/cli/flags.ts";
import { printData } from "../../lib/cli/output.ts";
import type { Session } from "./connect.ts";

const WEB_PORT = 3080;

/** "host:port" of the web address of a proxy that users can be told. */
export async function publicProxy({ api, config }: Session): Promise<string> {
  const { resources } = await api.call("resources.list", { kind: "proxy" });
  for (const resource of resources) {
    if (resource.kind === "proxy" && resource.spec.public_addr) return resource.spec.public_addr;
  }
  const configured = config.proxy.enabled ? config.proxy.publicAddrs[0] : undefined;
  if (configured === undefined) return `<proxyhost>:${WEB_PORT}`;
  return /:\d+$/.test(configured) ? configured : `${configured}:${WEB_PORT}`;
}

/** Prints a link with Teleport's words. */
export async function printLink(
  session: Session,
  flags: Flags,
  link: SignupLink,
  o: { path: "invite" | "reset"; ttlMs: number; what: string },
): Promise<void> {
  const proxy = await publicProxy(session);
  const url = `https://${proxy}/web/${o.path}/${link.token}`;
  const data = { user: link.user, url, expires: link.expires };
  printData(flags.format(), data, () =>
    [
      `User ${link.user} has been ${o.what}, link is valid for ${formatDuration(o.ttlMs)}:`,
      url,
      "",
      `NOTE: Make sure ${proxy} points at a Teleport proxy which users can access.`,
    ].join("\n"));
}

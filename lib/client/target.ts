/** What `tsh ssh` and `tsh scp` are pointed at: `[user@]host` or `[user@]label=value,…`. Pure. */
import { BadParameter } from "../base/errors.ts";
import { isIpAddress } from "../base/net.ts";

export type Target =
  & { login?: string }
  & ({ host: string; labels?: undefined } | { labels: Record<string, string> });

/** @throws BadParameter */
export function parseTarget(text: string): Target {
  const at = text.lastIndexOf("@");
  const login = at < 0 ? undefined : text.slice(0, at);
  const rest = text.slice(at + 1);
  if (login !== undefined) assertLogin(login);
  const who = login === undefined ? {} : { login };
  if (rest.includes("=")) return { ...who, labels: parseLabels(rest) };
  return { ...who, host: parseHost(rest) };
}

/** @throws BadParameter for names that no operating system has and that would confuse something */
export function assertLogin(login: string): void {
  // deno-lint-ignore no-control-regex
  if (login === "" || /^-|[\x00-\x20\x7f/\\'"`$;&|<>(){}*?]/.test(login) || login.length > 255) {
    throw new BadParameter(`${JSON.stringify(login)} cannot be a login on a node`);
  }
}

/** A host name, an address, a node's UUID; brackets around IPv6 are taken off. */
export function parseHost(text: string): string {
  const host = text.replace(/^\[(.*)\]$/, "$1");
  if (isIpAddress(host)) return host;
  const [, name, port] = /^(.+):(\d+)$/.exec(text) ?? [];
  if (name !== undefined) {
    throw new BadParameter(
      `${JSON.stringify(text)} holds a port: please use ssh subcommand with '--port=${port}' flag` +
        ` and the host ${JSON.stringify(name)}`,
    );
  }
  if (!/^[A-Za-z0-9_][\w.-]*$/.test(host) || host.length > 253) {
    throw new BadParameter(
      `${JSON.stringify(text)} is not a host: give a node's name, its address or UUID, ` +
        "or a label selector like env=prod",
    );
  }
  return host;
}

/**
 * `env=prod,os=linux`, also with `;`, spaces and quotes: `"long name"="a, b"`.
 * @throws BadParameter
 */
export function parseLabels(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  const part = /\s*(?:"([^"]*)"|([^\s"=,;]+))\s*=\s*(?:"([^"]*)"|([^",;]*?))\s*(?:[,;]|$)/y;
  while (part.lastIndex < text.length) {
    const match = part.exec(text);
    const key = match?.[1] ?? match?.[2];
    if (!match || !key) {
      throw new BadParameter(
        `Cannot read the label selector ${JSON.stringify(text)}: ` +
          "write it like env=prod,os=linux",
      );
    }
    labels[key] = match[3] ?? match[4] ?? "";
  }
  return labels;
}

/** Labels as a selector that parseLabels() reads back. */
export function formatLabels(labels: Record<string, string>): string {
  const word = (text: string) => /^[^\s"=,;]+$/.test(text) ? text : `"${text}"`;
  return Object.entries(labels).map(([key, value]) => `${word(key)}=${word(value)}`).join(",");
}

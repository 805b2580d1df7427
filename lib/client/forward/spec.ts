/** What `-L`, `-R` and `-D` say, as ssh has it. Pure. */
import { BadParameter } from "../../base/errors.ts";
import { formatAddr, type HostPort, parseAddr } from "../../base/net.ts";

/**
 * Where connections are waited for. `host` is "localhost" (loopback, of both families), "" (every
 * address) or an address; port 0 stands for any free one.
 */
export type Listen = HostPort;

/** -L: who connects to `listen` here is connected with `to` by the node. */
export interface LocalForward {
  listen: Listen;
  to: HostPort;
}

/** -R: who connects to `listen` there is connected with `to` from here; without `to`, by SOCKS. */
export interface RemoteForward {
  listen: Listen;
  to?: HostPort;
}

/** -D: a SOCKS proxy here, whose connections the node makes. */
export interface DynamicForward {
  listen: Listen;
}

/** `[bind:]port:host:hostport`. @throws BadParameter */
export function parseLocalForward(text: string): LocalForward {
  const parts = split(text);
  if (parts.length !== 3 && parts.length !== 4) throw unreadable("-L", text, parts);
  const to = parts.slice(-2);
  return { listen: listenOf("-L", text, parts.slice(0, -2)), to: targetOf("-L", text, to) };
}

/** `[bind:]port:host:hostport`, or `[bind:]port` for a SOCKS proxy there. @throws BadParameter */
export function parseRemoteForward(text: string): RemoteForward {
  const parts = split(text);
  if (parts.length < 1 || parts.length > 4) throw unreadable("-R", text, parts);
  if (parts.length < 3) return { listen: listenOf("-R", text, parts) };
  const to = parts.slice(-2);
  return { listen: listenOf("-R", text, parts.slice(0, -2)), to: targetOf("-R", text, to) };
}

/** `[bind:]port`. @throws BadParameter */
export function parseDynamicForward(text: string): DynamicForward {
  const parts = split(text);
  if (parts.length !== 1 && parts.length !== 2) throw unreadable("-D", text, parts);
  return { listen: listenOf("-D", text, parts) };
}

/** The address as people write it; "*" for every address. */
export function formatListen({ host, port }: Listen): string {
  return formatAddr({ host: host || "*", port });
}

const forms = {
  "-L": "-L [bind:]port:host:hostport, e.g. -L 8080:db.internal:80",
  "-R": "-R [bind:]port:host:hostport, e.g. -R 9000:localhost:3000",
  "-D": "-D [bind:]port, e.g. -D 1080",
} as const;

type Flag = keyof typeof forms;

/** Colons separate, except in brackets, where IPv6 addresses stand. */
function split(text: string): string[] {
  return text.match(/(?:\[[^\]]*\]|[^:])+|(?<=^|:)(?=:|$)/g) ?? [];
}

function listenOf(flag: Flag, text: string, parts: readonly string[]): Listen {
  const [bind, port = ""] = parts.length === 2 ? parts : ["localhost", parts[0]];
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535) {
    throw problem(flag, text, `${JSON.stringify(port)} is not a port`);
  }
  const host = bind === "" || bind === "*" ? "" : hostOf(flag, text, bind!);
  return { host, port: Number(port) };
}

function targetOf(flag: Flag, text: string, [host = "", port = ""]: readonly string[]): HostPort {
  if (!/^\d{1,5}$/.test(port) || Number(port) < 1 || Number(port) > 65_535) {
    throw problem(flag, text, `${JSON.stringify(port)} is not a port to connect to`);
  }
  return { host: hostOf(flag, text, host), port: Number(port) };
}

/** A name or an address; brackets around IPv6 are taken off. */
function hostOf(flag: Flag, text: string, host: string): string {
  try {
    return parseAddr(`${host}:1`).host;
  } catch {
    const sockets = host.startsWith("/") ? " (sockets in the file system are not forwarded)" : "";
    throw problem(flag, text, `${JSON.stringify(host)} is not a host${sockets}`);
  }
}

function unreadable(flag: Flag, text: string, parts: readonly string[]): BadParameter {
  const isBareIpv6 = parts.length > 4 && !text.includes("[");
  return problem(
    flag,
    text,
    isBareIpv6 ? "an IPv6 address is written in brackets, as [::1]" : "it has not the right parts",
  );
}

function problem(flag: Flag, text: string, why: string): BadParameter {
  return new BadParameter(
    `Cannot read ${flag} ${JSON.stringify(text.slice(0, 200))}: ${why}; write it like ${
      forms[flag]
    }`,
  );
}

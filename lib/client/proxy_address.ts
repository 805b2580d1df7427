/** Where a proxy is, as `--proxy` and TELEPORT_PROXY say it. */
import { BadParameter } from "../base/errors.ts";
import { formatAddr, type HostPort, parseAddr } from "../base/net.ts";

export const defaultWebPort = 3080;
export const defaultSshPort = 3023;

export interface ProxyAddress {
  host: string;
  webPort: number;
  /** Set when it was given: then it is used instead of what the proxy says of itself. */
  sshPort?: number;
  /** Whether the web port was given, or is the default. */
  webPortGiven: boolean;
}

/**
 * "host", "host:3080", "host:3080,3023", "host:,3023", "[::1]:3080,3023", "https://host:3080".
 * @throws BadParameter
 */
export function parseProxyAddress(text: string): ProxyAddress {
  const plain = text.trim().replace(/^https:\/\//, "").replace(/\/+$/, "");
  const match = /^(?<host>\[[^\]]+\]|[^:,[\]]+)(?::(?<web>\d*)(?:,(?<ssh>\d+))?)?$/.exec(plain);
  const { host = "", web = "", ssh } = match?.groups ?? {};
  if (!match) throw unreadable(text);
  const address = parseAddr(host, defaultWebPort);
  return {
    host: address.host,
    webPort: web === "" ? defaultWebPort : port(web, text),
    webPortGiven: web !== "",
    ...(ssh === undefined ? {} : { sshPort: port(ssh, text) }),
  };
}

/** The proxy to go through in place of the profile's, as `-J` and `--jumphost` say it. */
export interface JumpHost {
  /** One of the certificate's logins. */
  login?: string;
  address: HostPort;
}

/** "[login@]host[:port]". @throws BadParameter */
export function parseJumpHost(text: string): JumpHost {
  if (text.includes(",")) {
    throw new BadParameter(
      `-J ${JSON.stringify(text)} names several hosts: only one jump host, a proxy of the ` +
        "cluster, is possible",
    );
  }
  const at = text.lastIndexOf("@");
  const login = text.slice(0, Math.max(0, at));
  try {
    if (at === 0) throw new BadParameter("the login is empty");
    const address = parseAddr(text.slice(at + 1), defaultSshPort);
    return { ...(login === "" ? {} : { login }), address };
  } catch (cause) {
    throw new BadParameter(
      `-J ${JSON.stringify(text)} is not a jump host: write it like proxy.example.com or ` +
        "login@proxy.example.com:3023",
      { cause },
    );
  }
}

/** "https://host:3080". */
export function webUrl(address: HostPort): string {
  return `https://${formatAddr(address)}`;
}

function port(digits: string, text: string): number {
  const number = Number(digits);
  if (number < 1 || number > 65_535) throw unreadable(text);
  return number;
}

function unreadable(text: string): BadParameter {
  return new BadParameter(
    `${JSON.stringify(text)} is not the address of a proxy: ` +
      "write it like proxy.example.com, proxy.example.com:3080 or proxy.example.com:3080,3023",
  );
}

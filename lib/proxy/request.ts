/** What clients of the SSH front may ask for: the names of its subsystems, parsed. */
import { BadParameter } from "../base/errors.ts";

export type ProxyRequest =
  /** `proxy:host:port[@[namespace@]cluster]`: a host behind the proxy. */
  | { readonly kind: "host"; readonly target: Target; readonly cluster?: string }
  /** `proxy:@cluster`: the cluster's auth service. */
  | { readonly kind: "auth"; readonly cluster?: string }
  /** `proxysites`: the clusters that can be reached, as JSON. */
  | { readonly kind: "sites" };

export interface Target {
  /** As typed: name, UUID, IP address without brackets, or label selector. */
  readonly host: string;
  /** 0 is the host's own port. */
  readonly port: number;
}

/** Longest name of a subsystem that is looked at, in characters. */
const MAX_REQUEST = 1024;

/** True for the names that this proxy knows at all; anything else it refuses to start. */
export function isProxyRequest(subsystem: string): boolean {
  return subsystem === "proxysites" || subsystem.startsWith("proxy:");
}

/**
 * @throws BadParameter for a request that cannot be read, with the texts of Teleport
 */
export function parseProxyRequest(subsystem: string): ProxyRequest {
  if (subsystem === "proxysites") return { kind: "sites" };
  if (!subsystem.startsWith("proxy:") || subsystem.length > MAX_REQUEST) {
    throw invalid(`"${subsystem.slice(0, 64)}" is not a request for the proxy`);
  }
  const [where = "", ...names] = subsystem.slice("proxy:".length).split("@");
  if (names.length > 2) throw invalid("more than a namespace and a cluster after @");
  const [cluster, namespace] = names.toReversed();
  if (namespace !== undefined && namespace !== "default" && namespace !== "") {
    throw invalid(`unknown namespace "${namespace}"`);
  }
  const inCluster = cluster ? { cluster } : {};
  if (where === "") {
    if (cluster === undefined) throw invalid("neither a host nor a cluster is named");
    return { kind: "auth", ...inCluster };
  }
  return { kind: "host", target: parseTarget(where), ...inCluster };
}

/**
 * `host`, `host:port`, `[v6]:port`, a bare IPv6 address (its own port), or one followed by `:port`
 * as Teleport's clients write it.
 *
 * @throws BadParameter
 */
export function parseTarget(text: string): Target {
  const bracketed = /^\[([^[\]]+)\](?::(\d*))?$/.exec(text);
  if (bracketed) return target(bracketed[1]!, bracketed[2]);
  const colons = text.split(":").length - 1;
  if (colons === 0) return target(text, undefined);
  if (colons === 1) {
    const [host = "", port] = text.split(":");
    return target(host, port);
  }
  // More colons: IPv6. Eight groups or a "::" that leaves room make the last part ambiguous;
  // clients always write a port, so the last part is the port.
  const at = text.lastIndexOf(":");
  return target(text.slice(0, at), text.slice(at + 1));
}

function target(host: string, port: string | undefined): Target {
  if (host === "") throw invalid("the host is missing");
  if (host.length > 512) throw invalid("the host's name is too long");
  // deno-lint-ignore no-control-regex
  if (/[\x00-\x20\x7f[\]]/.test(host)) {
    throw invalid("the host's name has characters that no name has");
  }
  if (port === undefined || port === "") return { host, port: 0 };
  const number = Number(port);
  if (!/^\d{1,5}$/.test(port) || number > 65535) throw invalid(`"${port}" is not a port`);
  return { host, port: number };
}

/** The request names a cluster that this proxy cannot reach. */
export function unknownCluster(name: string): BadParameter {
  return invalid(`unknown cluster "${name}"`);
}

function invalid(reason: string): BadParameter {
  return new BadParameter(`invalid format for proxy request: ${reason}`);
}

/** What hosts call, and the list of nodes. */
import { matchLabels, NodeAccess } from "../access/mod.ts";
import { callerName } from "../api/server.ts";
import type { ApiService } from "../api/service.ts";
import type { Caller } from "../api/types.ts";
import { WATCHABLE } from "../api/contract.ts";
import { AccessDenied, BadParameter, InternalError } from "../base/errors.ts";
import { VERSION } from "../base/version.ts";
import type { UserIdentity } from "../cert/identity.ts";
import { nodeLabels } from "../resources/labels.ts";
import type { Node, Role } from "../resources/types.ts";
import type { AuthParts } from "./parts.ts";
import { rolesOf } from "./caller_roles.ts";
import { announce } from "./heartbeat.ts";

type HostMethods =
  | "ping"
  | "authorities"
  | "join"
  | "host.renew"
  | "nodes.heartbeat"
  | "proxies.heartbeat"
  | "nodes.list"
  | "watch"
  | "audit.emit";

export function hostsApi(parts: AuthParts): Pick<ApiService, HostMethods> {
  const { authorities, settings, joins, hub, audit } = parts;

  async function heartbeat<K extends "node" | "proxy">(kind: K, resource: unknown, caller: Caller) {
    const host = hostOf(caller);
    const answer = await announce(
      kind,
      resource as Node,
      { hostId: host.hostId, remote: host.remote },
      parts,
    );
    await joins.confirm(host.hostId, kind === "node" ? "Node" : "Proxy");
    return answer;
  }

  return {
    ping: (_, { caller }) => ({
      cluster_name: settings.clusterName,
      server_version: VERSION,
      second_factor: settings.secondFactor,
      caller: { kind: caller.kind, name: callerName(caller) },
    }),

    authorities: () => ({
      cluster_name: settings.clusterName,
      authorities: authorities.publicResources(),
    }),

    join: (request, { caller }) => {
      if (caller.kind !== "joining") throw new AccessDenied("this host has joined already");
      return joins.join(request, caller);
    },

    "host.renew": (request, { caller }) => {
      const host = hostOf(caller);
      return joins.renew({
        hostId: host.hostId,
        role: host.kind === "node" ? "Node" : "Proxy",
        key: host.key,
        nodeName: request.node_name ??
          hub.get(host.kind, host.hostId)?.spec.hostname ?? host.hostId,
        additionalPrincipals: request.additional_principals,
        dnsNames: request.dns_names,
        tlsPublicKey: request.tls_public_key,
      });
    },

    "nodes.heartbeat": ({ node }, { caller }) => heartbeat("node", node, caller),
    "proxies.heartbeat": ({ proxy }, { caller }) => heartbeat("proxy", proxy, caller),

    "nodes.list": ({ labels, search, limit, after }, { caller }) => {
      const wanted = nodeFilter(labels ?? {}, search ?? "");
      const visible = caller.kind === "user"
        ? visibleTo(caller.identity, rolesOf(hub, caller.identity))
        : () => true;
      const nodes: Node[] = [];
      for (const node of hub.nodes()) {
        if (after !== undefined && node.metadata.name <= after) continue;
        if (!wanted(node) || !visible(node)) continue;
        if (nodes.length === limit) return { nodes, next: nodes.at(-1)!.metadata.name };
        nodes.push(node);
      }
      return { nodes };
    },

    watch: (kinds, { caller, signal }) => {
      const allowed = WATCHABLE[caller.kind as keyof typeof WATCHABLE] ?? [];
      const refused = kinds.find((kind) => !allowed.includes(kind));
      if (refused !== undefined) {
        throw new AccessDenied(`a ${caller.kind} may not watch ${refused}`);
      }
      const resources = [...new Set(kinds)].filter((kind) => kind !== "session");
      if (resources.length === kinds.length) return hub.watch(resources, signal);
      if (kinds.length > 1) throw new BadParameter('"session" is watched by itself');
      return parts.activeSessions.watch(hostOf(caller), signal);
    },

    "audit.emit": ({ events }, { caller }) => audit.emitFromHost(hostOf(caller), events),
  };
}

function hostOf(caller: Caller): Extract<Caller, { hostId: string }> {
  if (caller.kind === "node" || caller.kind === "proxy") return caller;
  // The table lets nobody else in.
  throw new InternalError(`${caller.kind} is not a host`);
}

function nodeFilter(labels: Record<string, string>, search: string): (node: Node) => boolean {
  const selector = Object.fromEntries(Object.entries(labels).map(([k, v]) => [k, [v]]));
  const words = search.toLowerCase().split(/\s+/).filter((word) => word !== "");
  return (node) => {
    const all = nodeLabels(node);
    if (Object.keys(selector).length > 0 && !matchLabels(selector, all)) return false;
    if (words.length === 0) return true;
    const { name } = node.metadata;
    const { hostname, addr, public_addr = "" } = node.spec;
    const text = [name, hostname, addr, public_addr, ...Object.entries(all).flat()]
      .join("\n").toLowerCase();
    return words.every((word) => text.includes(word));
  };
}

/** Nodes where the roles give one of the logins that the certificate has. */
function visibleTo(identity: UserIdentity, roles: readonly Role[]): (node: Node) => boolean {
  const access = new NodeAccess(roles, identity.traits);
  return (node) =>
    access.loginsOn(nodeLabels(node)).some((login) => identity.principals.includes(login));
}

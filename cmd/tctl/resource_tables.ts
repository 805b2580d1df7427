/** Resources as tables, for people. */
import { table } from "../../lib/cli/table.ts";
import { nodeLabels } from "../../lib/resources/labels.ts";
import type { AnyResource, CertAuthority, Kind, Node, Role } from "../../lib/resources/types.ts";
import { fingerprint, parseAuthorizedKey } from "../../lib/sshwire/keys.ts";

/** One table for resources of one kind. */
export function resourceTable(kind: Kind, resources: readonly AnyResource[]): string {
  switch (kind) {
    case "node":
      return nodeTable(resources as Node[]);
    case "role":
      return table(
        ["Role", "Allowed to login as", "Node Labels", "Access to resources"],
        (resources as Role[]).map(roleRow),
      );
    case "cert_authority":
      return table(
        ["Cluster Name", "CA Type", "Fingerprint", "Role Map"],
        (resources as CertAuthority[]).flatMap(authorityRows),
      );
    case "user":
      return table(["User"], resources.map(({ metadata }) => [metadata.name]));
    case "token":
      return table(
        ["Token", "Type", "Expiry Time (UTC)"],
        resources.map((token) => [
          token.metadata.name,
          token.kind === "token" ? token.spec.roles.join(",") : "",
          token.metadata.expires ?? "never",
        ]),
      );
    case "proxy":
    case "auth_server":
      return table(
        ["Hostname", "UUID", "Address"],
        resources.map((server) => [
          "hostname" in server.spec ? server.spec.hostname : "",
          server.metadata.name,
          "addr" in server.spec ? server.spec.public_addr ?? server.spec.addr : "",
        ]),
      );
    default:
      return table(["Name"], resources.map(({ metadata }) => [metadata.name]));
  }
}

export function nodeTable(nodes: readonly Node[]): string {
  return table(
    ["Nodename", "UUID", "Address", "Labels"],
    nodes.map((node) => [
      node.spec.hostname,
      node.metadata.name,
      node.spec.use_tunnel ? "⟵ Tunnel" : node.spec.addr,
      Object.entries(nodeLabels(node)).sort().map(([key, value]) => `${key}=${value}`).join(","),
    ]),
  );
}

function roleRow({ metadata, spec: { allow } }: Role): string[] {
  const labels = Object.entries(allow.node_labels).map(([key, values]) =>
    `${key}:${values.length === 1 ? values[0] : `[${values.join(" ")}]`}`
  );
  const rules = allow.rules.map(({ resources, verbs }) =>
    `${resources.join(",")}:${verbs.join(",")}`
  );
  return [metadata.name, allow.logins.join(","), labels.join(","), rules.join("; ") || "<none>"];
}

function authorityRows({ spec }: CertAuthority): string[][] {
  return spec.checking_keys.map((line) => [
    spec.cluster_name,
    spec.type,
    fingerprint(parseAuthorizedKey(line).key),
    "N/A",
  ]);
}

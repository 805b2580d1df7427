import type { CertAuthority, Labels, Node, Proxy } from "./types.ts";

/** All labels of a host: the static ones, and the last results of its commands, which win. */
export function nodeLabels(node: Node | Proxy): Labels {
  const commands = Object.entries(node.spec.cmd_labels).map(([key, { result }]) => [key, result]);
  return { ...node.metadata.labels, ...Object.fromEntries(commands) };
}

/** The authority as it may be shown to anybody: public keys and certificates only. */
export function withoutSecrets(authority: CertAuthority): CertAuthority {
  const { signing_keys: _, ...spec } = authority.spec;
  const tls_key_pairs = spec.tls_key_pairs.map(({ cert }) => ({ cert }));
  return { ...authority, spec: { ...spec, tls_key_pairs } };
}

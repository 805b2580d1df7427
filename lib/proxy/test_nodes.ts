/** Nodes for tests. */
import type { Node } from "../resources/types.ts";

let serial = 0;

export function node(hostname: string, o: {
  id?: string;
  addr?: string;
  labels?: Record<string, string>;
  commands?: Record<string, string>;
  publicAddr?: string;
} = {}): Node {
  const id = o.id ?? `00000000-0000-4000-8000-${String(++serial).padStart(12, "0")}`;
  return {
    kind: "node",
    version: "v2",
    metadata: { name: id, namespace: "default", labels: o.labels ?? {} },
    spec: {
      addr: o.addr ?? "10.0.0.1:3022",
      hostname,
      cmd_labels: Object.fromEntries(
        Object.entries(o.commands ?? {}).map(([name, result]) => [
          name,
          { period: "1m0s", command: ["x"], result },
        ]),
      ),
      use_tunnel: false,
      version: "1",
      ...(o.publicAddr ? { public_addr: o.publicAddr } : {}),
    },
  };
}

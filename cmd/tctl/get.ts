import type { ApiClient } from "../../lib/api/client.ts";
import { BadParameter } from "../../lib/base/errors.ts";
import { printable } from "../../lib/base/text.ts";
import type { CommandSpec } from "../../lib/cli/program.ts";
import { out } from "../../lib/cli/output.ts";
import { formatResources } from "../../lib/resources/codec.ts";
import { parseKind } from "../../lib/resources/kinds.ts";
import type { AnyResource, Kind } from "../../lib/resources/types.ts";
import { withAuth } from "./connect.ts";
import { splitList } from "./options.ts";
import { resourceTable } from "./resource_tables.ts";

const LISTED = [
  "user",
  "role",
  "token",
  "node",
  "proxy",
  "cert_authority",
  "cluster_config",
] as const;
type ListedKind = typeof LISTED[number];

export const command: CommandSpec = {
  name: "get",
  summary: "print resources",
  arguments: [{ name: "<resources>", about: "kind[/name][,…], or all" }],
  options: [
    {
      flags: "--format <format>",
      description: "how to print: yaml, json or text",
      default: "yaml",
    },
    { flags: "--with-secrets", description: "private keys of authorities too" },
  ],
  notes: `Kinds: ${LISTED.join(", ")}. What is printed as YAML can be given to \`tctl create -f\`.`,
  examples: [
    ["tctl get roles", "every role"],
    ["tctl get role/dev,users", "one role and all users"],
    ["tctl get cas --format=text", "the authorities with their fingerprints"],
    ["tctl get all --with-secrets", "everything, for a backup"],
  ],
  run: async ([text = ""], flags) => {
    const format = flags.format();
    const wanted = parseReferences(text);
    await withAuth(flags, async ({ api }) => {
      const groups: [Kind, AnyResource[]][] = [];
      for (const { kind, name } of wanted) {
        groups.push([kind, await list(api, kind, name, flags.on("with-secrets"))]);
      }
      if (format === "text") {
        return out(groups.map(([kind, all]) => resourceTable(kind, all)).join("\n\n"));
      }
      const all = groups.flatMap(([, resources]) => resources);
      const text = formatResources(all, format).trimEnd();
      if (text !== "") out(text);
    });
  },
};

interface Reference {
  readonly kind: ListedKind;
  readonly name?: string;
}

/** "role/dev,users" → what to ask for. Exported for tests. @throws BadParameter */
export function parseReferences(text: string): Reference[] {
  if (text === "all") return LISTED.map((kind) => ({ kind }));
  const references = splitList(text).map((item) => {
    const at = item.indexOf("/");
    const kind = parseKind(at < 0 ? item : item.slice(0, at));
    const listed = LISTED.find((each) => each === kind);
    if (!listed) throw new BadParameter(`resources of kind "${kind}" cannot be listed`);
    return at < 0 ? { kind: listed } : { kind: listed, name: item.slice(at + 1) };
  });
  if (references.length === 0) {
    throw new BadParameter(`"${printable(text)}" names no resource; try \`tctl get all\``);
  }
  return references;
}

async function list(
  api: ApiClient,
  kind: ListedKind,
  name: string | undefined,
  withSecrets: boolean,
): Promise<AnyResource[]> {
  const { resources } = await api.call("resources.list", {
    kind,
    ...(name === undefined ? {} : { name }),
    ...(withSecrets ? { with_secrets: true } : {}),
  });
  return resources;
}

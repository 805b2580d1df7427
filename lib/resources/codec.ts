/** Resources from and to the outside: values, YAML and JSON. */

import { BadParameter } from "../base/errors.ts";
import { KINDS, parseKind } from "./kinds.ts";
import { schemas, versions } from "./schemas.ts";
import type { AnyResource, Kind, ResourceOf } from "./types.ts";
import { validate } from "./validate.ts";
import { formatYaml, parseYaml, type Path } from "./yaml.ts";

export type ResourceFormat = "yaml" | "json";

/**
 * A resource of a known kind with its defaults filled in.
 * @throws BadParameter naming each bad or unknown key, by line where `line` is given
 */
export function parseResource(value: unknown, line?: (path: Path) => number): AnyResource {
  const at = (path: Path) => line ? ` at line ${line(path)}` : "";
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new BadParameter(`A resource${at([])} must be a mapping with kind, version and metadata`);
  }
  const { kind, version } = value as Record<string, unknown>;
  if (typeof kind !== "string") {
    throw new BadParameter(`missing key 'kind'${at([])}: one of ${KINDS.join(", ")}`);
  }
  // Aliases are for command lines: in a resource the kind stands in full.
  const known = parseKind(kind);
  if (known !== kind) {
    throw new BadParameter(`'kind'${at(["kind"])} must be written as '${known}'`);
  }
  if (version !== versions[known]) {
    throw new BadParameter(
      `'version'${at(["version"])} must be ${versions[known]} for a ${known}` +
        (typeof version === "string" ? "; no other one is supported by this version" : ""),
    );
  }
  return validate(schemas[known] as typeof schemas[Kind] as never, value, { line });
}

/** As {@link parseResource}, for a value that must be of this kind. @throws BadParameter */
export function parseResourceOf<K extends Kind>(kind: K, value: unknown): ResourceOf<K> {
  const resource = parseResource(value);
  if (resource.kind !== kind) {
    throw new BadParameter(`Expected a resource of kind '${kind}', not '${resource.kind}'`);
  }
  return resource as ResourceOf<K>;
}

/**
 * The resources of a text: YAML documents separated by `---`, JSON, or a list in either.
 * @throws BadParameter with the line
 */
export function parseResources(text: string): AnyResource[] {
  const resources = parseYaml(text).flatMap(({ value, line }) => {
    if (!Array.isArray(value)) return [parseResource(value, line)];
    return value.map((item, index) => parseResource(item, (path) => line([index, ...path])));
  });
  if (resources.length === 0) throw new BadParameter("There is no resource in this text");
  return resources;
}

/** The same text for equal resources, whatever the order of their keys. Ends with a newline. */
export function formatResources(resources: readonly AnyResource[], format: ResourceFormat): string {
  const ordered = resources.map((resource) => inOrder(resource, true));
  if (format === "json") return `${JSON.stringify(ordered, undefined, 2)}\n`;
  return ordered.map((resource) => formatYaml(resource)).join("---\n");
}

const firstKeys = ["kind", "version", "metadata", "spec"];

function inOrder(value: unknown, top = false): unknown {
  if (Array.isArray(value)) return value.map((item) => inOrder(item));
  if (typeof value !== "object" || value === null) return value;
  const rank = (key: string) => {
    if (top) return firstKeys.indexOf(key);
    return key === "name" ? -1 : 0;
  };
  const entries = Object.entries(value).filter(([, member]) => member !== undefined);
  entries.sort(([a], [b]) => rank(a) - rank(b) || (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, member]) => [key, inOrder(member)]));
}

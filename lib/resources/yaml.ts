/**
 * Reading YAML and JSON (a subset of YAML) that came from outside.
 *
 * Every scalar is read as the text that stands there, except the plain null: `1.10`, `no` and
 * `2019-01-01` stay what a person wrote where text is wanted, and the schema that follows reads
 * "yes" or "15" where it wants a boolean or a number.
 */

import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseAllDocuments,
  Scalar,
  stringify,
} from "yaml";
import { BadParameter } from "../base/errors.ts";
import { printable } from "../base/text.ts";

/** Largest text, in bytes of UTF-8. */
export const MAX_YAML_BYTES = 1024 * 1024;
/** Aliases multiply: what they expand to counts as well. */
const maxNodes = 200_000;
const maxAliases = 100;
const maxDepth = 64;

/** Keys and indexes that lead to a value. */
export type Path = readonly PropertyKey[];

export interface YamlDocument {
  /** Objects, arrays, strings and null. */
  value: unknown;
  /** The line, from 1, of the key or item at `path`, or of what contains it. */
  line(path: Path): number;
}

/**
 * The documents of a text, separated by `---`; empty ones are left out.
 * @throws BadParameter with the line
 */
export function parseYaml(text: string, maxBytes = MAX_YAML_BYTES): YamlDocument[] {
  if (text.length > maxBytes || new TextEncoder().encode(text).length > maxBytes) {
    throw new BadParameter(`The text is too long: at most ${maxBytes} bytes are read`);
  }
  const lines = new LineCounter();
  return composeAll(text, lines).flatMap((document) => {
    const budget = { nodes: maxNodes, aliases: maxAliases };
    const at = (offset: number) => Math.max(1, lines.linePos(offset).line);
    const value = new Reader(document, at, budget).read(document.contents as Node | null, 0);
    return value === null ? [] : [{ value, line: (path: Path) => lineOf(document, path, at) }];
  });
}

/** YAML that both YAML 1.2 and 1.1 readers understand alike. */
export function formatYaml(value: unknown): string {
  return stringify(value, { lineWidth: 0, compat: "yaml-1.1", aliasDuplicateObjects: false });
}

function composeAll(text: string, lines: LineCounter): Document.Parsed[] {
  let documents: Document.Parsed[];
  try {
    const parsed = parseAllDocuments(text, {
      lineCounter: lines,
      schema: "failsafe",
      prettyErrors: false,
      // Reader does that: the library compares each key with every other one.
      uniqueKeys: false,
      logLevel: "silent",
    });
    documents = Array.isArray(parsed) ? parsed as Document.Parsed[] : [];
  } catch (e) {
    if (e instanceof RangeError) throw new BadParameter("The text is nested too deeply");
    throw new BadParameter("Cannot read the text as YAML", { cause: e });
  }
  for (const document of documents) {
    const problem = document.errors[0] ?? document.warnings[0];
    if (problem && /call stack/.test(problem.message)) {
      throw new BadParameter("The text is nested too deeply");
    }
    if (problem) {
      const { line } = lines.linePos(problem.pos[0]);
      throw new BadParameter(
        `Cannot read the text as YAML: line ${Math.max(1, line)}: ${
          printable(problem.message.slice(0, 200))
        }`,
      );
    }
  }
  return documents;
}

class Reader {
  constructor(
    private readonly document: Document.Parsed,
    private readonly at: (offset: number) => number,
    private readonly budget: { nodes: number; aliases: number },
  ) {}

  read(node: Node | null, depth: number): unknown {
    if (node === null || node === undefined) return null;
    if (depth > maxDepth) this.#refuse(node, `is nested more than ${maxDepth} levels deep`);
    if (this.budget.nodes-- <= 0) this.#refuse(node, "the text has too many values");
    if (isAlias(node)) {
      if (this.budget.aliases-- <= 0) {
        this.#refuse(node, `the text has more than ${maxAliases} aliases`);
      }
      const target = node.resolve(this.document);
      if (!target) this.#refuse(node, "an alias stands for nothing before it");
      return this.read(target, depth + 1);
    }
    if (isScalar(node)) return scalarValue(node);
    if (isSeq(node)) return node.items.map((item) => this.read(item as Node, depth + 1));
    if (isMap(node)) return this.#readMap(node.items as Pair<Node, Node | null>[], depth);
    return this.#refuse(node, "is neither a value, a list nor a mapping");
  }

  #readMap(pairs: Pair<Node, Node | null>[], depth: number): Record<string, unknown> {
    const result: Record<string, unknown> = {};
    for (const { key, value } of pairs) {
      const name = isScalar(key) ? String(key.value) : this.#refuse(key, "is no plain key");
      if (name === "__proto__") this.#refuse(key, "'__proto__' is not allowed as a key");
      if (Object.hasOwn(result, name)) this.#refuse(key, "this key is there already");
      result[name] = this.read(value, depth + 1);
    }
    return result;
  }

  #refuse(node: Node, why: string): never {
    throw new BadParameter(`Line ${this.at(node.range?.[0] ?? 0)}: ${why}`);
  }
}

function scalarValue(node: Scalar): string | null {
  const text = node.value === null || node.value === undefined ? "" : String(node.value);
  const plain = node.type === undefined || node.type === Scalar.PLAIN;
  return plain && /^(?:|~|null|Null|NULL)$/.test(text) ? null : text;
}

function lineOf(document: Document.Parsed, path: Path, at: (offset: number) => number): number {
  let node = document.contents as Node | null;
  let offset = node?.range?.[0] ?? 0;
  for (const step of path) {
    while (isAlias(node)) node = node.resolve(document) ?? null;
    if (isMap(node)) {
      const pair = (node.items as Pair<Node, Node | null>[])
        .find(({ key }) => isScalar(key) && String(key.value) === String(step));
      if (!pair) break;
      offset = pair.key.range?.[0] ?? offset;
      node = pair.value;
    } else if (isSeq(node)) {
      const item = node.items[Number(step)] as Node | undefined;
      if (!item) break;
      offset = item.range?.[0] ?? offset;
      node = item;
    } else break;
  }
  return at(offset);
}

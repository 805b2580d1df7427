/**
 * JSON data as YAML 1.2 text. Written here because the `yaml` package costs a fifth of the start-up
 * time of a command-line program, which only ever has to write plain data.
 */

/** Objects keep their order; undefined values are left out, as JSON.stringify does. */
export function toYaml(value: unknown): string {
  const plain: unknown = JSON.parse(JSON.stringify(value ?? null));
  return isBranch(plain) ? `${lines(plain).join("\n")}\n` : `${scalar(plain)}\n`;
}

type Branch = unknown[] | Record<string, unknown>;

function isBranch(value: unknown): value is Branch {
  return typeof value === "object" && value !== null && Object.keys(value).length > 0;
}

function lines(branch: Branch): string[] {
  return Array.isArray(branch)
    ? branch.flatMap((item) => entry("-", item, true))
    : Object.entries(branch).flatMap(([key, item]) => entry(`${scalar(key)}:`, item, false));
}

function entry(head: string, value: unknown, inList: boolean): string[] {
  if (!isBranch(value)) return [`${head} ${scalar(value)}`];
  const inner = lines(value);
  // A list item starts on the line of its dash; anything else is indented below its key.
  return inList
    ? inner.map((line, i) => `${i === 0 ? head : " "} ${line}`)
    : [head, ...inner.map((line) => `  ${line}`)];
}

/** Words that are certainly strings stand bare, everything else as JSON, which is YAML too. */
function scalar(value: unknown): string {
  if (typeof value === "string" && bare.test(value) && !meaningful.test(value)) return value;
  // Legal in JSON; not in YAML, or acted on by terminals.
  return JSON.stringify(value).replace(
    /[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

const bare = /^[A-Za-z_/][\w./@+-]*(?: [\w./@+-]+)*$/;
const meaningful = /^(?:null|true|false|yes|no|on|off|y|n|nan|inf)$/i;

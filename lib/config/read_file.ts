/** Where the configuration comes from: a file, a string in base64, or nowhere. */

import { fromBase64, utf8Decode } from "../base/bytes.ts";
import { BadParameter, messageOf, NotFound } from "../base/errors.ts";
import { validate } from "../resources/validate.ts";
import { MAX_YAML_BYTES, parseYaml } from "../resources/yaml.ts";
import { type ConfigFile, fileSchema } from "./schema.ts";

export const DEFAULT_CONFIG_FILE = "/etc/teleport.yaml";

export interface ConfigText {
  /** What errors name: the path, or the flag. */
  source: string;
  text: string;
}

/**
 * The text that `configString` holds in base64, or that of `file`, or that of the default file
 * where there is one.
 * @throws BadParameter, NotFound
 */
export async function readConfigText(
  { file, configString }: { file?: string | undefined; configString?: string | undefined },
): Promise<ConfigText | undefined> {
  if (configString !== undefined && configString !== "") {
    return { source: "--config-string", text: decode(configString) };
  }
  const path = file ?? DEFAULT_CONFIG_FILE;
  try {
    if ((await Deno.stat(path)).size > MAX_YAML_BYTES) throw new BadParameter("it is too long");
    return { source: path, text: await Deno.readTextFile(path) };
  } catch (e) {
    const missing = e instanceof Deno.errors.NotFound;
    if (missing && file === undefined) return undefined;
    if (missing) {
      throw new NotFound(
        `There is no configuration file ${path}: 'teleport configure' prints one to begin with`,
        { cause: e },
      );
    }
    throw new BadParameter(`Cannot read the configuration file ${path}: ${messageOf(e)}`, {
      cause: e,
    });
  }
}

/**
 * The sections and keys of a configuration text.
 * @throws BadParameter naming the source, the key and its line
 */
export function parseConfigText({ source, text }: ConfigText): ConfigFile {
  try {
    const [document, ...more] = parseYaml(text);
    if (more.length > 0) throw new BadParameter("one document is expected, not several");
    if (!document) return validate(fileSchema, {});
    return validate(fileSchema, document.value, {
      line: document.line,
      unknownKey: (path, rest) => `unrecognized configuration key: '${path}'${rest}`,
    });
  } catch (e) {
    if (!(e instanceof BadParameter)) throw e;
    throw new BadParameter(`${source}: ${e.message}`, { cause: e });
  }
}

function decode(text: string): string {
  try {
    return utf8Decode(fromBase64(text.replace(/\s/g, "")));
  } catch (e) {
    throw new BadParameter("--config-string (TELEPORT_CONFIG) must be YAML in base64", {
      cause: e,
    });
  }
}

import { BadParameter, messageOf } from "../../lib/base/errors.ts";
import type { CommandSpec } from "../../lib/cli/program.ts";
import { out } from "../../lib/cli/output.ts";
import { parseResources } from "../../lib/resources/codec.ts";
import type { AnyResource } from "../../lib/resources/types.ts";
import { withAuth } from "./connect.ts";

/** Largest file that is read, in bytes. */
const MAX_BYTES = 1024 * 1024;

export const command: CommandSpec = {
  name: "create",
  summary: "create or update resources from YAML or JSON",
  arguments: [{ name: "[file]", about: "file with resources; stdin when there is none, or -" }],
  options: [{ flags: "-f, --force", description: "take the place of resources that are there" }],
  notes: "All resources are checked before the first one is created.",
  examples: [
    ["tctl create role.yaml", "create what the file describes"],
    ["tctl get role/dev | tctl create -f", "write a resource back"],
  ],
  run: async ([file], flags) => {
    const resources = await readResources(file);
    await withAuth(flags, async ({ api }) => {
      for (const resource of resources) {
        const { kind, name, created } = await api.call("resources.create", {
          resource,
          force: flags.on("force"),
        });
        out(`${kind} "${name}" has been ${created ? "created" : "updated"}`);
      }
    });
  },
};

async function readResources(file: string | undefined): Promise<AnyResource[]> {
  const fromStdin = file === undefined || file === "-";
  const source = fromStdin ? "stdin" : file;
  const text = fromStdin ? await readStdin() : await readFile(file);
  try {
    return parseResources(text);
  } catch (error) {
    if (!(error instanceof BadParameter)) throw error;
    throw new BadParameter(`${source}: ${error.message}`, { cause: error });
  }
}

async function readFile(path: string): Promise<string> {
  try {
    if ((await Deno.stat(path)).size > MAX_BYTES) throw new BadParameter("it is over 1 MiB");
    return await Deno.readTextFile(path);
  } catch (error) {
    throw new BadParameter(`cannot read ${path}: ${messageOf(error)}`, { cause: error });
  }
}

async function readStdin(): Promise<string> {
  let text = "";
  for await (const part of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    text += part;
    if (text.length > MAX_BYTES) throw new BadParameter("what came on stdin is over 1 MiB");
  }
  return text;
}

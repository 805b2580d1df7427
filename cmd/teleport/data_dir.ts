/** The daemon's own directory: everything it keeps is below it, and nobody else may look in. */
import { BadParameter, messageOf, TeleportError } from "../../lib/base/errors.ts";

/**
 * Makes `dataDir` (mode 0700) and a private directory for temporary files below it.
 *
 * @returns that directory, which has to become TMPDIR before the auth role is loaded: the runtime
 * unpacks libSQL's native addon there and loads it, and in a shared directory others could put a file
 * of theirs in its place
 * @throws BadParameter when the directory cannot be made or written, or belongs to somebody else
 */
export async function prepareDataDir(dataDir: string): Promise<string> {
  try {
    await Deno.mkdir(dataDir, { recursive: true, mode: 0o700 });
    const info = await Deno.stat(dataDir);
    if (!info.isDirectory) throw new BadParameter("it is not a directory");
    if (info.uid !== Deno.uid()) {
      throw new BadParameter(`it belongs to user id ${info.uid}, and this is ${Deno.uid()}`);
    }
    // An older directory may be open to others.
    if (((info.mode ?? 0) & 0o077) !== 0) await Deno.chmod(dataDir, 0o700);
    const temporary = `${dataDir}/tmp`;
    await Deno.mkdir(temporary, { recursive: true, mode: 0o700 });
    await Deno.chmod(temporary, 0o700);
    await removeOldAddons(temporary);
    await probeWriting(temporary);
    return temporary;
  } catch (e) {
    throw new BadParameter(
      `cannot use the data directory ${dataDir}: ${reasonOf(e)}; start as the user who owns it ` +
        "(root, as a rule), or set teleport.data_dir in the configuration file",
      { cause: e },
    );
  }
}

/** Each version of the program unpacks an addon of its own, and none is removed by the runtime. */
async function removeOldAddons(directory: string): Promise<void> {
  const dayAgo = Date.now() - 24 * 60 * 60 * 1000;
  for await (const { name } of Deno.readDir(directory)) {
    if (!name.endsWith(".node")) continue;
    const modified = (await Deno.stat(`${directory}/${name}`)).mtime?.getTime() ?? 0;
    if (modified < dayAgo) await Deno.remove(`${directory}/${name}`);
  }
}

async function probeWriting(directory: string): Promise<void> {
  const probe = `${directory}/.probe-${Deno.pid}`;
  await Deno.writeTextFile(probe, "", { mode: 0o600 });
  await Deno.remove(probe);
}

function reasonOf(e: unknown): string {
  if (e instanceof TeleportError) return e.message;
  if (e instanceof Deno.errors.PermissionDenied) return "permission denied";
  if (e instanceof Deno.errors.NotADirectory) return "a part of the path is not a directory";
  if (e instanceof Deno.errors.AlreadyExists) return "it is not a directory";
  return messageOf(e);
}

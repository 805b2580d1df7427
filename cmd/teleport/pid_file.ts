import { BadParameter, messageOf } from "../../lib/base/errors.ts";

/**
 * Writes this process's id to `path`; the answer removes the file, if it is still ours.
 *
 * @throws BadParameter when it cannot be written
 */
export async function writePidFile(path: string): Promise<() => Promise<void>> {
  const temporary = `${path}.${Deno.pid}`;
  try {
    // Renamed into place: a watcher never reads half a number, and a link is not followed.
    await Deno.writeTextFile(temporary, `${Deno.pid}\n`, { mode: 0o644, createNew: true });
    await Deno.rename(temporary, path);
  } catch (e) {
    await Deno.remove(temporary).catch(() => {});
    throw new BadParameter(
      `cannot write the pid file ${path}: ${messageOf(e)}; choose another place with --pid-file`,
      { cause: e },
    );
  }
  return async () => {
    const text = await Deno.readTextFile(path).catch(() => "");
    if (text.trim() === String(Deno.pid)) await Deno.remove(path).catch(() => {});
  };
}

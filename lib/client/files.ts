/** The user's own small files: private, and replaced whole or not at all. */
import { randomHex } from "../base/ids.ts";
import { utf8Encode } from "../base/bytes.ts";

/**
 * Replaces a file in one step, so that two programs that log in at once never mix their halves.
 * @param mode permission bits, 0600 unless told
 */
export async function writeFileAtomic(
  path: string,
  content: string | Uint8Array,
  mode = 0o600,
): Promise<void> {
  const bytes = typeof content === "string" ? utf8Encode(content) : content;
  const temporary = `${path}.${randomHex(6)}.tmp`;
  try {
    using file = await Deno.open(temporary, { write: true, createNew: true, mode });
    for (let done = 0; done < bytes.length;) done += await file.write(bytes.subarray(done));
    await file.sync();
    await Deno.chmod(temporary, mode);
    await Deno.rename(temporary, path);
  } catch (e) {
    await Deno.remove(temporary).catch(() => {});
    throw e;
  }
}

/** Makes a directory that only its owner can enter; one that others can enter is closed to them. */
export async function makePrivateDirectory(path: string): Promise<void> {
  await Deno.mkdir(path, { recursive: true, mode: 0o700 });
  const { mode } = await Deno.stat(path);
  if (mode !== null && (mode & 0o077) !== 0) await Deno.chmod(path, 0o700);
}

/** The file's text, undefined when there is none. */
export function readTextIfThere(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch (e) {
    if (e instanceof Deno.errors.NotFound || e instanceof Deno.errors.NotADirectory) {
      return undefined;
    }
    throw e;
  }
}

/** Removes a file or a tree; nothing there is fine. */
export async function removeIfThere(path: string): Promise<boolean> {
  try {
    await Deno.remove(path, { recursive: true });
    return true;
  } catch (e) {
    if (e instanceof Deno.errors.NotFound) return false;
    throw e;
  }
}

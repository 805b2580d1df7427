/** Small files of a daemon: written whole or not at all, and readable only by their owner. */
import { randomHex } from "./ids.ts";

/**
 * Replaces a file in one step: a reader, or a machine that loses power, sees the old content or
 * the new one and never half of it.
 *
 * @param mode permission bits of the file, 0600 when omitted
 * @throws Deno.errors.* as the file system reports them
 */
export async function writeFileAtomic(
  path: string,
  content: string | Uint8Array,
  mode = 0o600,
): Promise<void> {
  const bytes = typeof content === "string" ? new TextEncoder().encode(content) : content;
  const temporary = `${path}.${randomHex(6)}.tmp`;
  try {
    using file = await Deno.open(temporary, { write: true, createNew: true, mode });
    // The umask may have taken bits away, and the mode is a promise to the reader.
    await Deno.chmod(temporary, mode);
    let written = 0;
    while (written < bytes.length) written += await file.write(bytes.subarray(written));
    await file.sync();
    await Deno.rename(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw error;
  }
}

/** Resolves when the names in a directory are on stable storage: a file that was made in it stays. */
export async function syncDirectory(path: string): Promise<void> {
  using directory = await Deno.open(path);
  await directory.sync();
}

/** The text of a file, or undefined when there is none. */
export async function readTextIfExists(path: string): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Makes a directory that only its owner can enter; an existing one is tightened. */
export async function privateDirectory(path: string): Promise<string> {
  await Deno.mkdir(path, { recursive: true, mode: 0o700 });
  await Deno.chmod(path, 0o700);
  return path;
}

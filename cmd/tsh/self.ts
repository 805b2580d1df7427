/** The command by which another program can call this one. */
export function selfCommand(): string {
  const path = Deno.execPath();
  // Run from source, the executable is Deno itself: then the shell has to find tsh by its name.
  return path.split("/").at(-1) === "deno" ? "tsh" : path;
}

/** The name of the person at this computer, for when no other is given. */
export function localUser(): string | undefined {
  const named = Deno.env.get("USER") || Deno.env.get("LOGNAME");
  if (named) return named;
  try {
    const uid = String(Deno.uid());
    const line = Deno.readTextFileSync("/etc/passwd").split("\n")
      .find((each) => each.split(":")[2] === uid);
    return line?.split(":")[0];
  } catch {
    return undefined;
  }
}

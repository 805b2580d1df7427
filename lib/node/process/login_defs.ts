/** The PATH of logins, from /etc/login.defs. */

const DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin";
const DEFAULT_SUPATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const FILE = "/etc/login.defs";

/** PATH of a login with this uid: ENV_SUPATH for root, ENV_PATH for everybody else. */
export function loginPath(uid: number): string {
  let text = "";
  try {
    text = Deno.readTextFileSync(FILE);
  } catch {
    // Not every system has the file.
  }
  return pathFrom(text, uid);
}

/** The same from the file's text. */
export function pathFrom(loginDefs: string, uid: number): string {
  const key = uid === 0 ? "ENV_SUPATH" : "ENV_PATH";
  const line = new RegExp(`^\\s*${key}\\s+(?:PATH=)?(\\S+)\\s*$`, "m").exec(loginDefs);
  return line?.[1] ?? (uid === 0 ? DEFAULT_SUPATH : DEFAULT_PATH);
}

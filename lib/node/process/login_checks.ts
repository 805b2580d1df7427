/**
 * What sshd looks at before it lets an account in when PAM is not asked: expiry, the shell,
 * /etc/nologin. A locked password ("!") is no hindrance here: no password is used, accounts made
 * for keys and certificates have it, and the role decides.
 */
import { AccessDenied } from "../../base/errors.ts";
import { cString, libc } from "../os/libc.ts";
import { accountExpiryDay, type OsUser } from "./os_user.ts";

const DAY_MS = 86_400_000;
const X_OK = 1;
const NOLOGIN_FILES = ["/etc/nologin", "/run/nologin"];
const MAX_NOTICE_BYTES = 8192;

/** @throws AccessDenied saying why the account cannot be used now */
export async function checkLogin(user: OsUser, nowMs: number): Promise<void> {
  const expiry = await accountExpiryDay(user.name);
  if (expiry !== undefined && nowMs >= expiry * DAY_MS) {
    throw new AccessDenied(`the operating-system account "${user.name}" has expired`);
  }
  if (!isExecutableFile(user.shell)) {
    throw new AccessDenied(
      `the shell of "${user.name}", ${user.shell}, does not exist or cannot be executed`,
    );
  }
  const notice = user.uid === 0 ? undefined : await nologinNotice();
  if (notice !== undefined) {
    throw new AccessDenied(notice.trim() || "logins are switched off on this node (/etc/nologin)");
  }
}

/**
 * Whether the account is one that must not get a shell. For a shell or a command it is enough to
 * start that very program; file transfer does not go through it, and asks here.
 */
export function hasNoLoginShell(user: OsUser): boolean {
  return /\/(nologin|false)$/.test(user.shell);
}

function isExecutableFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile && libc().access(cString(path), X_OK) === 0;
  } catch {
    return false;
  }
}

async function nologinNotice(): Promise<string | undefined> {
  for (const path of NOLOGIN_FILES) {
    const notice = await readNotice(path);
    if (notice !== undefined) return notice;
  }
  return undefined;
}

/** /etc/motd, unless ~/.hushlogin asks for quiet. */
export async function messageOfTheDay(user: OsUser): Promise<string> {
  try {
    await Deno.lstat(`${user.home}/.hushlogin`);
    return "";
  } catch {
    return await readNotice("/etc/motd") ?? "";
  }
}

async function readNotice(path: string): Promise<string | undefined> {
  try {
    const bytes = await Deno.readFile(path);
    return new TextDecoder().decode(bytes.subarray(0, MAX_NOTICE_BYTES));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    // It is there and cannot be read: that counts, as in sshd.
    return "";
  }
}

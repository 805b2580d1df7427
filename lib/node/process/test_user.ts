/** For tests: an account that this process can become. */
import { ownUser } from "./launch.ts";
import type { OsUser } from "./os_user.ts";

/** The own account, with a shell that is everywhere. */
export function launchTestUser(): Promise<OsUser> {
  const own = ownUser();
  return Promise.resolve({
    name: "self",
    uid: own.uid,
    gid: own.gid,
    groups: own.groups.length > 0 ? own.groups : [own.gid],
    home: "/",
    shell: "/bin/sh",
  });
}

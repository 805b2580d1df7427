import { must } from "../harness/run.ts";

/**
 * An OS user for one run, with a home and a shell that reads no start-up files, so that neither
 * side pays for what somebody has in root's `.bashrc`.
 */
export class OsUser implements AsyncDisposable {
  private constructor(readonly name: string) {}

  static async add(home: string): Promise<OsUser> {
    const name = `tpbench${Deno.pid}`;
    await must(["useradd", "-M", "-d", home, "-s", "/bin/sh", name]);
    // A locked password would make sshd refuse the account.
    await must(["usermod", "-p", "*", name]);
    await must(["chown", name, home]);
    return new OsUser(name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await must(["userdel", this.name]);
  }
}

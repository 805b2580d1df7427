import { must } from "./run.ts";

let serial = 0;

/** An account of the operating system for one test or measurement; goes when disposed of. */
export class OsUser implements AsyncDisposable {
  private constructor(readonly name: string, readonly home: string) {}

  /** @param shell one that reads no start-up files keeps a measurement fair */
  static async add(shell = "/bin/sh"): Promise<OsUser> {
    const name = `tp${Deno.pid}x${++serial}`;
    const home = await Deno.makeTempDir({ prefix: "tp-home-" });
    await must(["useradd", "-M", "-d", home, "-s", shell, name]);
    // A locked password would make sshd refuse the account.
    await must(["usermod", "-p", "*", name]);
    await must(["chown", `${name}:`, home]);
    return new OsUser(name, home);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await must(["userdel", this.name]);
    await Deno.remove(this.home, { recursive: true });
  }
}

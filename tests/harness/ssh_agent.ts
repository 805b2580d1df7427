import { eventually, must } from "./run.ts";

let serial = 0;

/** A stock ssh-agent of a test. */
export class SshAgent implements AsyncDisposable {
  private constructor(readonly socket: string, readonly child: Deno.ChildProcess) {}

  /** @param dir where its socket is made */
  static async start(dir: string): Promise<SshAgent> {
    const socket = `${dir}/ssh-agent-${++serial}.sock`;
    const child = new Deno.Command("ssh-agent", {
      args: ["-D", "-a", socket],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    await eventually("ssh-agent to listen", async () => (await Deno.stat(socket)).isSocket);
    return new SshAgent(socket, child);
  }

  get env(): Record<string, string> {
    return { SSH_AUTH_SOCK: this.socket };
  }

  /** Adds a private key's file, and the certificate beside it. */
  async add(file: string): Promise<void> {
    await must(["ssh-add", "-q", file], { env: this.env });
  }

  /** Makes a key and adds it. Resolves with the line of its public half, as `ssh-add -L` shows it. */
  async addNewKey(): Promise<string> {
    const file = `${this.socket}-key`;
    await must(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lent", "-f", file]);
    await this.add(file);
    return (await Deno.readTextFile(`${file}.pub`)).trim();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill("SIGTERM");
    await this.child.status;
  }
}

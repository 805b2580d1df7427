import { freePort } from "../harness/ports.ts";
import { eventually, must } from "../harness/run.ts";

/** OpenSSH's own target and bastion on loopback, with plain keys, for comparison. */
export class OpenSsh implements AsyncDisposable {
  #children: Deno.ChildProcess[] = [];

  private constructor(readonly dir: string, readonly targetPort: number, readonly user: string) {}

  static async start(dir: string, user: string): Promise<OpenSsh> {
    await Deno.mkdir("/run/sshd", { recursive: true });
    await must(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", `${dir}/client`]);
    await must(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", `${dir}/host`]);
    const openssh = new OpenSsh(dir, freePort(), user);
    const bastionPort = freePort();
    for (const port of [openssh.targetPort, bastionPort]) await openssh.#sshd(port);
    const hostKey = (await Deno.readTextFile(`${dir}/host.pub`)).split(" ").slice(0, 2).join(" ");
    await Deno.writeTextFile(
      `${dir}/known_hosts`,
      [openssh.targetPort, bastionPort].map((p) => `[127.0.0.1]:${p} ${hostKey}\n`).join(""),
    );
    await Deno.writeTextFile(
      `${dir}/ssh_config`,
      `Host target
  HostName 127.0.0.1
  Port ${openssh.targetPort}
Host bastion
  HostName 127.0.0.1
  Port ${bastionPort}
Host jumped
  HostName 127.0.0.1
  Port ${openssh.targetPort}
  ProxyJump bastion
Host *
  User ${user}
  IdentityFile ${dir}/client
  IdentitiesOnly yes
  BatchMode yes
  UserKnownHostsFile ${dir}/known_hosts
  StrictHostKeyChecking yes
  Ciphers aes128-gcm@openssh.com
  KexAlgorithms curve25519-sha256
  LogLevel ERROR
`,
    );
    return openssh;
  }

  /** `ssh` to the target directly, or through the bastion. */
  ssh(way: "target" | "jumped"): string[] {
    return ["ssh", "-F", `${this.dir}/ssh_config`, way];
  }

  /** Process ids of both daemons. */
  get pids(): number[] {
    return this.#children.map((child) => child.pid);
  }

  async #sshd(port: number): Promise<void> {
    const config = `${this.dir}/sshd-${port}.conf`;
    await Deno.writeTextFile(
      config,
      `ListenAddress 127.0.0.1:${port}
HostKey ${this.dir}/host
AuthorizedKeysFile ${this.dir}/client.pub
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
PidFile none
MaxStartups 500:30:600
PrintMotd no
PrintLastLog no
`,
    );
    this.#children.push(
      new Deno.Command("/usr/sbin/sshd", {
        args: ["-D", "-f", config],
        stdin: "null",
        stdout: "null",
        stderr: "null",
      }).spawn(),
    );
    await eventually("sshd to listen", async () => {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      return true;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#children) {
      child.kill("SIGTERM");
      await child.status;
    }
  }
}

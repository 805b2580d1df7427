import type { Cluster } from "./cluster.ts";
import { freePort } from "./ports.ts";
import { eventually, must } from "./run.ts";

/** A stock OpenSSH server of a test, that lets the cluster's users in. */
export class Sshd implements AsyncDisposable {
  private constructor(readonly port: number, readonly child: Deno.ChildProcess) {}

  /**
   * @param o.names makes it a host certificate of the cluster for these; without them the server has
   *   a plain key
   * @param o.extra further lines of its configuration
   */
  static async start(
    cluster: Cluster,
    o: { port?: number; names?: string[]; extra?: string[] } = {},
  ): Promise<Sshd> {
    const port = o.port ?? freePort();
    const dir = `${cluster.dir}/sshd-${port}`;
    await Deno.mkdir(dir);
    const { stdout } = await cluster.tctl(["auth", "export", "--type=user"]);
    await Deno.writeTextFile(`${dir}/user_ca.pub`, stdout.replace(/^cert-authority /, ""));
    if (o.names) {
      await cluster.tctl([
        ...["auth", "sign", `--host=${o.names.join(",")}`, "--format=openssh"],
        `--out=${dir}/key`,
      ]);
    } else {
      await must(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", `${dir}/key`]);
    }
    await Deno.writeTextFile(
      `${dir}/sshd_config`,
      [
        `ListenAddress 127.0.0.1:${port}`,
        `HostKey ${dir}/key`,
        ...(o.names ? [`HostCertificate ${dir}/key-cert.pub`] : []),
        `TrustedUserCAKeys ${dir}/user_ca.pub`,
        ...["AuthorizedKeysFile none", "PasswordAuthentication no", "UsePAM no"],
        ...["PermitRootLogin prohibit-password", "StrictModes no", `PidFile ${dir}/pid`],
        "Subsystem sftp internal-sftp",
        ...(o.extra ?? []),
      ].join("\n") + "\n",
    );
    await Deno.mkdir("/run/sshd", { recursive: true });
    const child = new Deno.Command("/usr/sbin/sshd", {
      args: ["-D", "-E", `${dir}/log`, "-f", `${dir}/sshd_config`],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    const sshd = new Sshd(port, child);
    try {
      await eventually("sshd to listen", async () => {
        (await Deno.connect({ hostname: "127.0.0.1", port })).close();
        return true;
      });
    } catch (error) {
      await sshd[Symbol.asyncDispose]();
      throw error;
    }
    return sshd;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill("SIGTERM");
    await this.child.status;
  }
}

import type { Cluster, Person } from "../harness/cluster.ts";
import { bin, must } from "../harness/run.ts";
import type { OpenSsh } from "./openssh.ts";

/** What every section measures with: one cluster, one OpenSSH beside it, one person. */
export class Bench {
  private constructor(
    readonly cluster: Cluster,
    readonly openssh: OpenSsh,
    readonly person: Person,
    readonly login: string,
  ) {}

  static async prepare(cluster: Cluster, openssh: OpenSsh, login: string): Promise<Bench> {
    const person = await cluster.enrol("bench", [login]);
    await person.login();
    const bench = new Bench(cluster, openssh, person, login);
    await bench.#writeSshConfig();
    return bench;
  }

  /** `tsh ssh` to the node through the proxy. */
  get tsh(): string[] {
    return [bin("tsh"), "ssh", `${this.login}@node-1`];
  }

  get env(): Record<string, string> {
    return this.person.env;
  }

  /** Stock `ssh` to our node, directly or through our proxy, with what OpenSSH's side uses. */
  ssh(way: "node" | "jumped"): string[] {
    return ["ssh", "-F", `${this.person.home}/bench_config`, way];
  }

  async #writeSshConfig(): Promise<void> {
    const keys = `${this.person.home}/.tsh/keys/localhost`;
    const { ports } = this.cluster;
    const { stdout } = await this.cluster.tctl(["auth", "export", "--type=host"]);
    await Deno.writeTextFile(`${this.person.home}/bench_known_hosts`, stdout);
    await Deno.writeTextFile(
      `${this.person.home}/bench_config`,
      `Host node jumped
  HostName 127.0.0.1
  Port ${ports.node}
  HostKeyAlias node-1.main
Host proxy
  HostName 127.0.0.1
  Port ${ports.proxySsh}
  HostKeyAlias node-1.main
Host jumped
  ProxyJump proxy
Host *
  User ${this.login}
  IdentityFile ${keys}/bench
  CertificateFile ${keys}/bench-cert.pub
  IdentitiesOnly yes
  BatchMode yes
  UserKnownHostsFile ${this.person.home}/bench_known_hosts
  StrictHostKeyChecking yes
  Ciphers aes128-gcm@openssh.com
  KexAlgorithms curve25519-sha256
  LogLevel ERROR
`,
    );
    // Fail here, with ssh's own words, rather than in the middle of a measurement.
    await must([...this.ssh("node"), "true"]);
    await must([...this.ssh("jumped"), "true"]);
    await must([...this.tsh, "true"], { env: this.env });
    await must([...this.openssh.ssh("jumped"), "true"]);
  }
}

import type { Cluster } from "../harness/cluster.ts";
import { must, run, type RunResult } from "../harness/run.ts";

const ROLES = `extension:teleport-roles={"version":"v1","roles":["admin"]}`;
const TRAITS = `extension:teleport-traits={"logins":["root"]}`;

export interface MintOptions {
  /** File of the CA's private key; the cluster's own user CA unless told. */
  ca?: string;
  principals?: string[];
  /** As `ssh-keygen -V` takes it. */
  validity?: string;
  host?: boolean;
  /** `ssh-keygen -O` options in place of the ones that an honest certificate has. */
  options?: string[];
  keyType?: "ed25519" | "rsa" | "ecdsa";
}

/** Signs certificates with `ssh-keygen` and a stolen CA key, and tries them with stock `ssh`. */
export class Mint {
  #serial = 0;

  private constructor(readonly cluster: Cluster, readonly dir: string) {}

  static async open(cluster: Cluster): Promise<Mint> {
    const dir = `${cluster.dir}/mint`;
    await Deno.mkdir(dir);
    const { stdout } = await cluster.tctl([
      ...["get", "cert_authority", "--with-secrets", "--format=json"],
    ]);
    const authorities: {
      spec: { type: string; signing_keys: string[]; checking_keys: string[] };
    }[] = JSON.parse(stdout);
    for (const { spec } of authorities) {
      await Deno.writeTextFile(`${dir}/${spec.type}_ca`, spec.signing_keys[0]!, { mode: 0o600 });
      await Deno.writeTextFile(`${dir}/${spec.type}_ca.pub`, `${spec.checking_keys[0]}\n`);
    }
    const hosts = (await cluster.tctl(["auth", "export", "--type=host"])).stdout;
    await Deno.writeTextFile(`${dir}/known_hosts`, hosts);
    return new Mint(cluster, dir);
  }

  get userCa(): string {
    return `${this.dir}/user_ca`;
  }

  get hostCa(): string {
    return `${this.dir}/host_ca`;
  }

  async newKey(type = "ed25519"): Promise<string> {
    const file = `${this.dir}/key-${++this.#serial}`;
    await must(["ssh-keygen", "-q", "-t", type, "-N", "", "-f", file]);
    return file;
  }

  /** A key with a certificate beside it; gives the key's file. */
  async certified(options: MintOptions = {}): Promise<string> {
    const file = await this.newKey(options.keyType);
    const principals = options.principals ?? ["root"];
    await must([
      ...["ssh-keygen", "-q", "-s", options.ca ?? this.userCa, "-I", "mallory"],
      ...(options.host ? ["-h"] : []),
      ...(principals.length > 0 ? ["-n", principals.join(",")] : []),
      ...["-V", options.validity ?? "-5m:+1h"],
      ...(options.options ?? [ROLES, TRAITS]).flatMap((o) => ["-O", o]),
      `${file}.pub`,
    ]);
    return file;
  }

  /** Stock `ssh` straight to the node or the proxy with this key alone. */
  ssh(
    key: string,
    command: string[],
    options: { to?: "node" | "proxy"; login?: string; flags?: string[]; timeoutMs?: number } = {},
  ): Promise<RunResult> {
    const port = options.to === "proxy" ? this.cluster.ports.proxySsh : this.cluster.ports.node;
    return run([
      ...["ssh", "-F", "/dev/null", "-p", String(port), "-i", key],
      ...(["IdentitiesOnly=yes", "BatchMode=yes", "StrictHostKeyChecking=yes"].flatMap((
        o,
      ) => ["-o", o])),
      ...["-o", `UserKnownHostsFile=${this.dir}/known_hosts`, "-o", "HostKeyAlias=node-1.main"],
      ...(options.flags ?? []),
      ...["-l", options.login ?? "root", "127.0.0.1", ...command],
    ], { env: { SSH_AUTH_SOCK: "" }, timeoutMs: options.timeoutMs ?? 30_000 });
  }
}

export { ROLES, TRAITS };

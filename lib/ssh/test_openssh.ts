/** Stock OpenSSH for the tests: a directory with keys and certificates, `ssh` and `sshd`. */
import { Buffer } from "node:buffer";
import { join } from "node:path";
import { type Certificate, formatCertificateLine } from "../sshwire/certificate.ts";
import { formatCertAuthorityLine } from "../sshwire/known_hosts.ts";
import { formatAuthorizedKey, type PrivateKey } from "../sshwire/keys.ts";
import { encodePrivateKey } from "../sshwire/private_key.ts";
import type { SshServer } from "./server.ts";
import { dialTcp } from "./stream.ts";
import {
  hostCa,
  hostCertificate,
  type TestIdentity,
  testKey,
  userCa,
  userCertificate,
} from "./testing.ts";

export interface Output {
  code: number;
  stdout: Buffer;
  stderr: string;
}

/** A directory for `ssh` whose known_hosts trusts `hostCa` only. */
export class OpenSsh implements Disposable {
  readonly dir: string = Deno.makeTempDirSync({ prefix: "lib-ssh-" });

  constructor(ca: PrivateKey = hostCa) {
    this.write("known_hosts", formatCertAuthorityLine(["*"], ca.publicKey) + "\n");
    this.identity(testKey("alice"));
  }

  /** What `ssh` logs in with. */
  identity(key: PrivateKey, certificate: Certificate | undefined = userCertificate(key)): void {
    this.write("id", encodePrivateKey(key));
    this.write("id.pub", formatAuthorizedKey(key.publicKey) + "\n");
    if (certificate) this.write("id-cert.pub", formatCertificateLine(certificate) + "\n");
  }

  write(name: string, text: string): string {
    const path = join(this.dir, name);
    Deno.writeTextFileSync(path, text, { mode: 0o600 });
    return path;
  }

  options(port: number, user = "alice"): string[] {
    return [
      ["StrictHostKeyChecking", "yes"],
      ["UserKnownHostsFile", join(this.dir, "known_hosts")],
      ["GlobalKnownHostsFile", "/dev/null"],
      ["IdentitiesOnly", "yes"],
      ["IdentityAgent", "none"],
      ["IdentityFile", join(this.dir, "id")],
      ["BatchMode", "yes"],
      ["Port", String(port)],
      ["User", user],
    ].flatMap(([name, value]) => ["-o", `${name}=${value}`]);
  }

  /** Runs `ssh … args`; what `args` say comes first. */
  ssh(port: number, args: string[], stdin?: Uint8Array): Promise<Output> {
    const host = args.findIndex((arg) => arg === "127.0.0.1");
    const [own, rest] = [args.slice(0, host), args.slice(host)];
    return run("ssh", ["-F", "none", ...own, ...this.options(port), ...rest], stdin);
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.dir, { recursive: true });
  }
}

export async function run(program: string, args: string[], stdin?: Uint8Array): Promise<Output> {
  const child = new Deno.Command(program, {
    args,
    stdin: stdin ? "piped" : "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const writing = stdin ? write(child.stdin, stdin) : undefined;
  const output = await child.output();
  await writing;
  return {
    code: output.code,
    stdout: Buffer.from(output.stdout),
    stderr: new TextDecoder().decode(output.stderr),
  };
}

async function write(to: WritableStream<Uint8Array>, bytes: Uint8Array): Promise<void> {
  try {
    await new Blob([bytes as BlobPart]).stream().pipeTo(to);
  } catch {
    // The program did not want to read it all.
  }
}

/** `server` on a free port of 127.0.0.1. */
export function listen(server: SshServer<TestIdentity>): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  server.serve(listener);
  return listener.addr.port;
}

/** A stock sshd that trusts `userCa` and shows a certificate of `hostCa`. */
export class Sshd implements AsyncDisposable {
  readonly port: number;
  readonly #dir: string;
  readonly #process: Deno.ChildProcess;

  private constructor(port: number, dir: string, process: Deno.ChildProcess) {
    this.port = port;
    this.#dir = dir;
    this.#process = process;
  }

  static async start(hostKey: PrivateKey, lines: string[] = []): Promise<Sshd> {
    const dir = Deno.makeTempDirSync({ prefix: "lib-ssh-sshd-" });
    const write = (name: string, text: string) => {
      Deno.writeTextFileSync(join(dir, name), text, { mode: 0o600 });
      return join(dir, name);
    };
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const port = listener.addr.port;
    listener.close();
    const certificate = formatCertificateLine(hostCertificate(hostKey));
    // Of a keyword that comes twice, the first counts.
    const config = [
      ...lines,
      `Port ${port}`,
      "ListenAddress 127.0.0.1",
      `HostKey ${write("host", encodePrivateKey(hostKey))}`,
      `HostCertificate ${write("host-cert.pub", certificate + "\n")}`,
      `TrustedUserCAKeys ${write("ca.pub", formatAuthorizedKey(userCa.publicKey) + "\n")}`,
      "AuthorizedKeysFile none",
      "UsePAM no",
      "PermitRootLogin yes",
      "StrictModes no",
      "PidFile none",
      "AllowTcpForwarding yes",
      `Subsystem sftp internal-sftp`,
    ];
    try {
      Deno.mkdirSync("/run/sshd", { recursive: true });
    } catch {
      // Not ours to make; then it is there, or sshd says so.
    }
    const process = new Deno.Command("/usr/sbin/sshd", {
      args: ["-D", "-f", write("config", config.join("\n") + "\n"), "-E", join(dir, "log")],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    const sshd = new Sshd(port, dir, process);
    await sshd.#listening();
    return sshd;
  }

  async #listening(): Promise<void> {
    for (let tries = 0; tries < 100; tries++) {
      try {
        (await dialTcp({ host: "127.0.0.1", port: this.port })).destroy();
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
    throw new Error(`sshd does not listen: ${Deno.readTextFileSync(join(this.#dir, "log"))}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill("SIGTERM");
    await this.#process.status;
    Deno.removeSync(this.#dir, { recursive: true });
  }
}

/** The login that stock sshd accepts without PAM: whoever runs the tests. */
export const osUser: string = Deno.env.get("USER") ?? (Deno.uid() === 0 ? "root" : "nobody");

import { checkCertificate, type TrustedAuthority } from "../../lib/cert/check.ts";
import { connectSsh, type SshClient } from "../../lib/ssh/client.ts";
import { dialTcp } from "../../lib/ssh/stream.ts";
import { type Certificate, parseCertificateLine } from "../../lib/sshwire/certificate.ts";
import type { PrivateKey, PublicKey } from "../../lib/sshwire/keys.ts";
import { parseKnownHosts } from "../../lib/sshwire/known_hosts.ts";
import { decodePrivateKey } from "../../lib/sshwire/private_key.ts";
import type { Bench } from "./setting.ts";

/** What one process needs to open many connections as one user, as `tsh` would open each. */
export class ProxyLogin {
  private constructor(
    readonly port: number,
    readonly login: string,
    readonly key: PrivateKey,
    readonly certificate: Certificate,
    readonly authorities: TrustedAuthority[],
  ) {}

  static async of(bench: Bench): Promise<ProxyLogin> {
    const keys = `${bench.person.home}/.tsh/keys/localhost/bench`;
    const known = parseKnownHosts(
      await Deno.readTextFile(`${bench.person.home}/bench_known_hosts`),
    );
    return new ProxyLogin(
      bench.cluster.ports.proxySsh,
      bench.login,
      decodePrivateKey(await Deno.readTextFile(keys)).key,
      parseCertificateLine(await Deno.readTextFile(`${keys}-cert.pub`)),
      [{ cluster: "main", type: "host", keys: known.map((entry) => entry.key) }],
    );
  }

  /** An SSH connection to the node through a connection of its own to the proxy. */
  async connect(): Promise<{ node: SshClient; proxy: SshClient }> {
    const proxy = await this.#over(await dialTcp({ host: "127.0.0.1", port: this.port }));
    const tunnel = await proxy.subsystem("proxy:node-1:0");
    return { proxy, node: await this.#over(tunnel.stream) };
  }

  #over(stream: Parameters<typeof connectSsh>[0]["stream"]): Promise<SshClient> {
    return connectSsh({
      stream,
      username: this.login,
      credentials: [{ key: this.key, certificate: this.certificate }],
      verifyHost: (host: { key: PublicKey; certificate?: Certificate }) => {
        if (!host.certificate) throw new Error("no host certificate");
        checkCertificate(host.certificate, {
          type: "host",
          authorities: this.authorities,
          anyPrincipal: true,
          nowMs: Date.now(),
        });
      },
    });
  }
}

/** Runs one command over connections of its own; throws unless it ends with status 0. */
export async function openCommand(login: ProxyLogin, command: string): Promise<void> {
  const { proxy, node } = await login.connect();
  try {
    const channel = await node.exec(command);
    channel.stream.resume();
    const status = await channel.exited;
    if (!("code" in status) || status.code !== 0) throw new Error(JSON.stringify(status));
  } finally {
    node.close();
    proxy.close();
  }
}

/** Opens a shell with a terminal and waits until it has run a command. */
export async function openShell(login: ProxyLogin): Promise<{ close(): void }> {
  const { proxy, node } = await login.connect();
  const channel = await node.shell({
    pty: { term: "xterm", cols: 80, rows: 24, widthPx: 0, heightPx: 0, modes: new Map() },
  });
  channel.stream.write("echo answer $((6 * 7))\n");
  let said = "";
  await new Promise<void>((done, fail) => {
    channel.stream.on("data", (chunk: Uint8Array) => {
      said += new TextDecoder().decode(chunk);
      if (said.includes("answer 42")) done();
    });
    channel.exited.then((status) => fail(new Error(JSON.stringify(status))));
  });
  return {
    close() {
      channel.close();
      node.close();
      proxy.close();
    },
  };
}

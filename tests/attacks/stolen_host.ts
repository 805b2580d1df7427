import type { ApiClient } from "../../lib/api/client.ts";
import { dialAuth } from "../../lib/host/auth_dial.ts";
import { hostUserName, identityDirectory, readIdentity } from "../../lib/host/identity.ts";
import type { Cluster } from "../harness/cluster.ts";

type Event = Record<string, unknown>;

/** The auth API as a host that was taken over has it: with the identity on its disk. */
export class StolenHost implements AsyncDisposable {
  private constructor(
    readonly id: string,
    readonly api: ApiClient,
    private readonly ssh: { close(): void; closed: Promise<unknown> },
  ) {}

  static async connect(cluster: Cluster, key: string, role: "Node" | "Proxy"): Promise<StolenHost> {
    const identity = (await readIdentity(identityDirectory(`${cluster.dir}/${key}`, role)))!;
    const { api, ssh } = await dialAuth({
      address: `127.0.0.1:${cluster.ports.auth}`,
      username: hostUserName(identity),
      credentials: [{ key: identity.key, certificate: identity.certificate }],
      verifyHost: () => {},
    });
    return new StolenHost(identity.hostId, api, ssh);
  }

  /** The reasons for which events were refused. */
  async report(...events: Event[]): Promise<string[]> {
    const { rejected } = await this.api.call("audit.emit", { events: events as never });
    return rejected.map(({ reason }) => reason);
  }

  /** An event as an honest node would send it. */
  exec(over: Event = {}): Event {
    return {
      event: "exec",
      code: "T3002I",
      uid: crypto.randomUUID(),
      user: "joe",
      login: "root",
      server_id: this.id,
      command: "forged",
      exitCode: "0",
      ...over,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.api.close();
    this.ssh.close();
    await this.ssh.closed;
  }
}

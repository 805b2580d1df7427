/** A proxy, an auth API and nodes, all in this process, for tests of the client. */
import { Duplex } from "node:stream";
import { encodeFrame, FrameDecoder } from "../api/frames.ts";
import { AccessDenied } from "../base/errors.ts";
import type { HostPort } from "../base/net.ts";
import { checkCertificate } from "../cert/check.ts";
import {
  type HostKey,
  type ServerChannel,
  type SessionHandlers,
  type SessionStart,
  SshServer,
} from "../ssh/server.ts";
import { relay } from "../ssh/stream.ts";
import { ClusterClient } from "./cluster_client.ts";
import { cluster, TestAuthority } from "./test_identity.ts";

export type RunOnNode = (start: SessionStart, channel: ServerChannel) => void;

/** A cluster on 127.0.0.1. Close it by `await using`. */
export class TestCluster implements AsyncDisposable {
  readonly authority = new TestAuthority();
  readonly address: HostPort;
  /** What the proxy answers for a target, before any node is looked up. */
  readonly refusals = new Map<string, { text: string; status: number }>();
  /** The subsystems that were asked for. */
  readonly asked: string[] = [];
  /** Window sizes that nodes were told. */
  readonly sizes: string[] = [];
  /** What `nodes.list` answers. */
  nodes: unknown[] = [];
  readonly #nodes = new Map<string, SshServer<null>>();
  readonly #proxy: SshServer<null>;
  readonly #auth: SshServer<null>;
  readonly #served: Promise<void>;

  constructor(options: { proxyHost?: HostKey } = {}) {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.address = { host: "127.0.0.1", port: listener.addr.port };
    const host = options.proxyHost ?? this.authority.host(["127.0.0.1", "localhost"], "Proxy");
    this.#proxy = this.#server(host, (start, channel) => this.#onProxy(start, channel));
    this.#auth = this.#server(
      this.authority.host(["auth"], "Auth"),
      (_, channel) => this.#onApi(channel),
    );
    this.#served = this.#proxy.serve(listener);
  }

  /** Adds a node under the names that its certificate has. */
  addNode(names: string[], run: RunOnNode, host?: HostKey): void {
    const server = this.#server(host ?? this.authority.host(names, "Node"), run);
    for (const name of names) this.#nodes.set(name, server);
  }

  connect(identity = this.authority.identity()): Promise<ClusterClient> {
    return ClusterClient.connect({ identity, address: this.address });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#proxy, this.#auth, ...this.#nodes.values()].map((s) => s.close()));
    await this.#served;
  }

  #server(host: HostKey, run: RunOnNode): SshServer<null> {
    return new SshServer<null>({
      hostKeys: () => [host],
      authenticate: ({ username, certificate }) => {
        if (!certificate) throw new AccessDenied("a certificate is needed");
        checkCertificate(certificate, {
          type: "user",
          authorities: [{ cluster, type: "user", keys: [this.authority.userCa.publicKey] }],
          principal: username,
          nowMs: Date.now(),
        });
        if (username === "denied") {
          throw new AccessDenied("access denied to denied connecting to node");
        }
        return null;
      },
      onConnection: (connection) => {
        connection.handle({
          session: (): SessionHandlers => ({
            pty: (pty) => {
              this.sizes.push(`${pty.term} ${pty.cols}x${pty.rows}`);
              return true;
            },
            windowChange: (size) => void this.sizes.push(`${size.cols}x${size.rows}`),
            start: run,
          }),
        });
      },
    });
  }

  #onProxy(start: SessionStart, channel: ServerChannel): void {
    const name = start.kind === "subsystem" ? start.name : "";
    this.asked.push(name);
    if (name === "proxysites") {
      const sites = [{ name: cluster, status: "online", lastconnected: "2026-01-01T00:00:00Z" }];
      channel.stream.end(JSON.stringify(sites));
      return channel.exit(0);
    }
    const [, host = "", port = ""] = /^proxy:\[?([^@\]]*?)\]?(?::(\d+))?(?:@|$)/.exec(name) ?? [];
    const refusal = this.refusals.get(host);
    const server = name === `proxy:@${cluster}` ? this.#auth : this.#nodes.get(host);
    if (refusal || !server) {
      const { text, status } = refusal ?? { text: `no node "${host}" (${port})`, status: 1 };
      channel.stderr.write(`error: ${text}\n`);
      return channel.exit(status);
    }
    const [ours, theirs] = streamPair();
    server.accept(theirs, { host: "127.0.0.1", port: 1 }, { host: "127.0.0.1", port: 2 });
    void relay(channel.stream, ours);
  }

  #onApi({ stream }: ServerChannel): void {
    const decoder = new FrameDecoder();
    stream.on("data", (chunk: Uint8Array) => {
      for (const message of decoder.push(chunk)) {
        const { id, method, params } = message as {
          id: number;
          method: string;
          params: { limit: number; after?: string };
        };
        const from = Number(params.after ?? 0);
        const nodes = this.nodes.slice(from, from + 2);
        const next = from + 2 < this.nodes.length ? { next: String(from + 2) } : {};
        const result = method === "nodes.list" ? { nodes, ...next } : {};
        stream.write(encodeFrame({ jsonrpc: "2.0", id, result }));
      }
    });
    stream.on("error", () => {});
  }
}

/** Two streams: what is written to one is read from the other. */
export function streamPair(): [Duplex, Duplex] {
  const sides: Duplex[] = [];
  const waiting: ((() => void) | undefined)[] = [];
  for (const i of [0, 1]) {
    sides.push(
      new Duplex({
        allowHalfOpen: true,
        read() {
          const ready = waiting[1 - i];
          waiting[1 - i] = undefined;
          ready?.();
        },
        write(chunk, _encoding, done) {
          if (sides[1 - i]!.push(Uint8Array.from(chunk))) done();
          else waiting[i] = done;
        },
        final(done) {
          sides[1 - i]!.push(null);
          done();
        },
        destroy(error, done) {
          const other = sides[1 - i]!;
          queueMicrotask(() => other.destroyed || other.destroy());
          done(error);
        },
      }),
    );
  }
  return [sides[0]!, sides[1]!];
}

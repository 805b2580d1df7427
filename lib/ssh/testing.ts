/** What the tests of this directory share: authorities, servers and clients in memory or on TCP. */
import type { Buffer } from "node:buffer";
import { Duplex } from "node:stream";
import { AccessDenied } from "../base/errors.ts";
import { checkCertificate } from "../cert/check.ts";
import { issueHostCertificate, issueUserCertificate } from "../cert/issue.ts";
import type { Certificate } from "../sshwire/certificate.ts";
import { generatePrivateKey, type KeyType, type PrivateKey } from "../sshwire/keys.ts";
import { type ConnectOptions, connectSsh, type OfferedHost, type SshClient } from "./client.ts";
import {
  type AuthAttempt,
  type ConnectionHandlers,
  type ServerChannel,
  type SessionStart,
  SshServer,
  type SshServerOptions,
} from "./server.ts";
import { dialTcp } from "./stream.ts";

export const keyTypes: KeyType[] = [
  "ssh-ed25519",
  "ecdsa-sha2-nistp256",
  "ecdsa-sha2-nistp384",
  "ssh-rsa",
];

const keys = new Map<string, PrivateKey>();

/** A key that is made once a process: RSA takes a second. */
export function testKey(name: string, type: KeyType = "ssh-ed25519"): PrivateKey {
  const id = `${type}/${name}`;
  const key = keys.get(id) ?? generatePrivateKey(type);
  keys.set(id, key);
  return key;
}

export const userCa = testKey("user CA");
export const hostCa = testKey("host CA");
const hour = 3_600_000;

export function userCertificate(
  key: PrivateKey,
  principals = ["alice"],
  ca: PrivateKey = userCa,
  keyId = "alice",
): Certificate {
  return issueUserCertificate({
    ca,
    key: key.publicKey,
    keyId,
    principals,
    validAfterMs: Date.now() - hour,
    validBeforeMs: Date.now() + hour,
    extensions: {
      "permit-pty": "",
      "permit-port-forwarding": "",
      "permit-agent-forwarding": "",
      "permit-X11-forwarding": "",
    },
  });
}

export function hostCertificate(
  key: PrivateKey,
  principals = ["node1", "127.0.0.1"],
  ca: PrivateKey = hostCa,
): Certificate {
  return issueHostCertificate({
    ca,
    key: key.publicKey,
    keyId: "node1",
    principals,
    validAfterMs: Date.now() - hour,
    validBeforeMs: Date.now() + hour,
    extensions: {},
  });
}

/** Accepts certificates of `hostCa` for `principal`. */
export function verifyHost(principal = "node1"): (host: OfferedHost) => void {
  return ({ certificate }) => {
    if (!certificate) throw new AccessDenied("The host has no certificate");
    checkCertificate(certificate, {
      type: "host",
      authorities: [{ cluster: "test", type: "host", keys: [hostCa.publicKey] }],
      principal,
      nowMs: Date.now(),
    });
  };
}

export interface TestIdentity {
  username: string;
  keyId: string;
  keyType: string;
}

/** A server that accepts certificates of `userCa` and runs a few commands of its own. */
export function testServer(
  options: Partial<SshServerOptions<TestIdentity>> = {},
  hostKeyType: KeyType = "ssh-ed25519",
): SshServer<TestIdentity> {
  const key = testKey("host", hostKeyType);
  const certificate = hostCertificate(key);
  return new SshServer<TestIdentity>({
    hostKeys: () => [{ key, certificate }],
    authenticate: authenticateTestUser,
    onConnection: (connection) => connection.handle(testHandlers()),
    ...options,
  });
}

/** Who has a certificate of `userCa` for the login. */
export function authenticateTestUser({ username, certificate }: AuthAttempt): TestIdentity {
  if (!certificate) throw new AccessDenied("A certificate is needed");
  checkCertificate(certificate, {
    type: "user",
    authorities: [{ cluster: "test", type: "user", keys: [userCa.publicKey] }],
    principal: username,
    address: "127.0.0.1",
    nowMs: Date.now(),
  });
  return { username, keyId: certificate.keyId, keyType: certificate.key.type };
}

/** Commands: "echo", "exit N", "kill SIG", "source BYTES", "sink", "stderr", "env", "hang". */
export function testHandlers(): ConnectionHandlers {
  return {
    session() {
      const env: Record<string, string> = {};
      let pty = "";
      return {
        env: (name, value) => {
          env[name] = value;
          return !name.startsWith("NO_");
        },
        pty: (p) => {
          pty = `${p.term} ${p.cols}x${p.rows} ${p.modes.size}`;
          return true;
        },
        authorize(start) {
          if (start.kind === "exec" && start.command === "forbidden") {
            throw new AccessDenied("This command is forbidden");
          }
        },
        start: (start, channel) => runTestCommand(start, channel, { env, pty }),
      };
    },
    directTcpip: ({ host, port }) => {
      if (host === "forbidden") return Promise.reject(new AccessDenied("Not to that host"));
      return dialTcp({ host, port });
    },
  };
}

function runTestCommand(
  start: SessionStart,
  channel: ServerChannel,
  session: { env: Record<string, string>; pty: string },
): void {
  const { stream, stderr } = channel;
  const text = start.kind === "exec"
    ? start.command
    : start.kind === "subsystem"
    ? start.name
    : "shell";
  const [command, argument = ""] = text.split(" ");
  switch (command) {
    case "echo":
      stream.on("end", () => channel.exit(0));
      stream.pipe(stream, { end: false });
      return;
    case "exit":
      return channel.exit(Number(argument));
    case "kill":
      return channel.exitSignal(argument, true, "killed");
    case "source":
      return source(stream, Number(argument), () => channel.exit(0));
    case "sink": {
      const counted = new Counter();
      stream.on("data", (chunk: Buffer) => counted.add(chunk));
      stream.on("end", () => {
        stream.write(`${counted.bytes} ${counted.sum}\n`);
        channel.exit(0);
      });
      return;
    }
    case "stderr":
      stderr.write("to stderr\n");
      stream.write("to stdout\n");
      return channel.exit(1);
    case "env":
      stream.write(JSON.stringify(session));
      return channel.exit(0);
    case "hang":
      return;
    default:
      throw new AccessDenied(`no such command: ${text}`);
  }
}

/** Counts and sums bytes, so that two ends can compare what they saw. */
export class Counter {
  bytes = 0;
  sum = 0;

  add(chunk: Uint8Array): void {
    this.bytes += chunk.length;
    // Position matters: every 509th byte with its offset.
    const start = this.bytes - chunk.length;
    for (let i = (509 - (start % 509)) % 509; i < chunk.length; i += 509) {
      this.sum = (this.sum * 31 + chunk[i]! + start + i) % 2 ** 32;
    }
  }
}

const pattern = new Uint8Array(64 * 1024 + 13).map((_, i) => (i * 7 + (i >> 8)) & 0xff);

/** Writes `total` bytes of a pattern, never more than the stream wants. */
export function source(stream: Duplex, total: number, done: () => void): void {
  let left = total;
  const pump = () => {
    while (left > 0 && !stream.destroyed) {
      const chunk = pattern.subarray(0, Math.min(left, pattern.length));
      left -= chunk.length;
      if (!stream.write(chunk)) return void stream.once("drain", pump);
    }
    done();
  };
  pump();
}

/** What source() writes, counted. */
export function sourceCount(total: number): Counter {
  const counter = new Counter();
  for (let left = total; left > 0; left -= pattern.length) {
    counter.add(pattern.subarray(0, Math.min(left, pattern.length)));
  }
  return counter;
}

/** Two streams: what is written to one is read from the other. */
export function streamPair(): [Duplex, Duplex] {
  const sides: Duplex[] = [];
  const waiting: ((() => void) | undefined)[] = [];
  for (const i of [0, 1]) {
    sides.push(
      new Duplex({
        allowHalfOpen: true,
        read: () => {
          const ready = waiting[1 - i];
          waiting[1 - i] = undefined;
          ready?.();
        },
        write(chunk, _encoding, done) {
          // A copy: the writer may use its buffer again.
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

const address = { host: "127.0.0.1", port: 1 };

/** A client of `server`, through memory. */
export function connectTo(
  server: SshServer<TestIdentity>,
  options: Partial<ConnectOptions> = {},
): Promise<SshClient> {
  const [ours, theirs] = streamPair();
  server.accept(theirs, address, { host: "127.0.0.1", port: 2 });
  return connectSsh({ stream: ours, ...clientOptions(), ...options });
}

export function clientOptions(keyType: KeyType = "ssh-ed25519"): Omit<ConnectOptions, "stream"> {
  const key = testKey("alice", keyType);
  return {
    username: "alice",
    credentials: [{ key, certificate: userCertificate(key) }],
    verifyHost: verifyHost(),
  };
}

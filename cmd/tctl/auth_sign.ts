import type { ApiClient } from "../../lib/api/client.ts";
import { NotFound } from "../../lib/base/errors.ts";
import type { CommandSpec } from "../../lib/cli/program.ts";
import { UsageError } from "../../lib/cli/exit.ts";
import type { Flags } from "../../lib/cli/flags.ts";
import { out } from "../../lib/cli/output.ts";
import type { ClientIdentity } from "../../lib/client/identity.ts";
import { writeIdentityFile, writeOpenSshFiles } from "../../lib/client/identity_file.ts";
import { writeFileAtomic } from "../../lib/base/files.ts";
import { parseCertificateLine } from "../../lib/sshwire/certificate.ts";
import {
  formatAuthorizedKey,
  generatePrivateKey,
  parseAuthorizedKey,
  type PrivateKey,
} from "../../lib/sshwire/keys.ts";
import { encodePrivateKey } from "../../lib/sshwire/private_key.ts";
import { withAuth } from "./connect.ts";
import { splitList, ttlOf } from "./options.ts";

const DEFAULT_TTL_MS = 12 * 3_600_000;

export const command: CommandSpec = {
  name: "auth sign",
  summary: "make a key and a certificate for a user or a host",
  description:
    "Makes a key on this machine, has it certified, and writes both to files that only " +
    "you can read. A user's certificate made here may live longer than the user's roles allow.",
  options: [
    { flags: "--user <name>", description: "user to make an identity for" },
    { flags: "--host <names>", description: "names of the host, e.g. db.example.com,10.0.0.1" },
    { flags: "-o, --out <path>", description: "where to write" },
    {
      flags: "--format <format>",
      description: "file: one file for tsh -i; openssh: key and -cert.pub; tls: .key .crt .cas",
      choices: ["file", "openssh", "tls"],
    },
    {
      flags: "--ttl <duration>",
      description: "life of the certificate (default: 12h; hosts: none)",
    },
    { flags: "--compat <format>", description: "", refused: "chooses an old certificate format" },
    { flags: "--proxy <addr>", description: "", refused: "is for Kubernetes" },
    { flags: "--kube-cluster <name>", description: "", refused: "is for Kubernetes" },
  ],
  examples: [
    [
      "tctl auth sign --user=ci --ttl=720h -o ci.pem",
      "an identity for a pipeline: tsh -i ci.pem …",
    ],
    [
      "tctl auth sign --host=db.example.com,10.0.0.1 --format=openssh -o ssh_host_db",
      "HostKey and HostCertificate for an OpenSSH server",
    ],
  ],
  run: async (_args, flags) => {
    const path = flags.text("out");
    if (!path) throw new UsageError("say where to write: --out=<path>");
    const user = flags.text("user");
    const host = flags.text("host");
    if ((user === undefined) === (host === undefined)) {
      throw new UsageError("give one of --user and --host");
    }
    const files = await withAuth(
      flags,
      ({ api }) =>
        user !== undefined ? signUser(api, flags, user, path) : signHost(api, flags, host!, path),
    );
    out(`\nThe credentials have been written to ${files.join(", ")}`);
  },
};

async function signUser(
  api: ApiClient,
  flags: Flags,
  user: string,
  path: string,
): Promise<string[]> {
  const format = flags.text("format") ?? "file";
  // TLS libraries that know P-256 are far more than those that know Ed25519.
  const key = generatePrivateKey(format === "tls" ? "ecdsa-sha2-nistp256" : "ssh-ed25519");
  const answer = await api.call("sign.user", {
    user,
    ttl_ms: ttlOf(flags) ?? DEFAULT_TTL_MS,
    public_key: formatAuthorizedKey(key.publicKey, `teleport:${user}`),
    tls_public_key: spkiOf(key),
  });
  if (format === "tls") return await writeTls(api, path, key, answer.tls_cert ?? "");
  const [signer] = answer.host_signers;
  if (!signer) throw new NotFound("the auth service named no host authority");
  const identity: ClientIdentity = {
    key,
    certificate: parseCertificateLine(answer.cert),
    cluster: signer.domain_name,
    hostKeys: signer.checking_keys.map((line) => parseAuthorizedKey(line).key),
    tlsAuthorities: signer.tls_certs,
  };
  return format === "openssh"
    ? await writeOpenSshFiles(path, identity)
    : await writeIdentityFile(path, identity, answer.tls_cert);
}

async function writeTls(
  api: ApiClient,
  path: string,
  key: PrivateKey,
  certPem: string,
): Promise<string[]> {
  const { authorities } = await api.call("authorities", {});
  const cas = authorities.flatMap(({ spec }) => spec.tls_key_pairs.map(({ cert }) => cert.trim()));
  const keyPem = key.keyObject.export({ type: "pkcs8", format: "pem" }).toString();
  const files = [`${path}.key`, `${path}.crt`, `${path}.cas`];
  await writeFileAtomic(files[0]!, keyPem);
  await writeFileAtomic(files[1]!, `${certPem.trim()}\n`);
  await writeFileAtomic(files[2]!, `${cas.join("\n")}\n`);
  return files;
}

async function signHost(
  api: ApiClient,
  flags: Flags,
  names: string,
  path: string,
): Promise<string[]> {
  if ((flags.text("format") ?? "openssh") !== "openssh") {
    throw new UsageError("a host's certificate is written with --format=openssh only");
  }
  const principals = splitList(names);
  if (principals.length === 0) throw new UsageError("--host names no host");
  const ttlMs = ttlOf(flags);
  const key = generatePrivateKey();
  const { cert } = await api.call("sign.host", {
    principals,
    public_key: formatAuthorizedKey(key.publicKey),
    ...(ttlMs === undefined ? {} : { ttl_ms: ttlMs }),
  });
  const certificate = `${path}-cert.pub`;
  await writeFileAtomic(path, encodePrivateKey(key, principals[0]));
  await writeFileAtomic(certificate, `${cert.trim()}\n`);
  return [path, certificate];
}

function spkiOf(key: PrivateKey): string {
  return key.publicKey.keyObject.export({ type: "spki", format: "der" }).toString("base64");
}

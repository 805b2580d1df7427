import { NotFound } from "../../lib/base/errors.ts";
import type { CommandSpec } from "../../lib/cli/program.ts";
import { out } from "../../lib/cli/output.ts";
import type { CertAuthority } from "../../lib/resources/types.ts";
import { formatCertAuthorityLine } from "../../lib/sshwire/known_hosts.ts";
import { fingerprint, formatAuthorizedKey, parseAuthorizedKey } from "../../lib/sshwire/keys.ts";
import { withAuth } from "./connect.ts";

type ExportType = "user" | "host" | "tls";

export const command: CommandSpec = {
  name: "auth export",
  summary: "print the cluster's authorities, as OpenSSH and TLS want them",
  options: [
    {
      flags: "--type <type>",
      description: "user (for authorized_keys, TrustedUserCAKeys), host (for known_hosts) or tls",
      choices: ["user", "host", "tls"],
    },
    {
      flags: "--fingerprint [fingerprint]",
      description: "print fingerprints only; with a value: only the key that has it",
    },
    { flags: "--keys", description: "print the private keys (secret)" },
    { flags: "--compat <version>", description: "", refused: "prints the format of Teleport 1.0" },
  ],
  examples: [
    ["tctl auth export --type=user | sed 's/^cert-authority //'", "for sshd's TrustedUserCAKeys"],
    ["tctl auth export --type=host >> ~/.ssh/known_hosts", "let ssh recognise the cluster's hosts"],
    ["tctl auth export --type=tls > ca.pem", "the TLS authorities; the proxy's HTTPS is from them"],
  ],
  run: (_args, flags) =>
    withAuth(flags, async ({ api }) => {
      const { resources } = await api.call("resources.list", {
        kind: "cert_authority",
        ...(flags.on("keys") ? { with_secrets: true } : {}),
      });
      const authorities = resources.filter((r): r is CertAuthority => r.kind === "cert_authority");
      const lines = exportLines(authorities, {
        ...(flags.text("type") ? { type: flags.text("type") as ExportType } : {}),
        privateKeys: flags.on("keys"),
        fingerprintsOnly: flags.on("fingerprint"),
        ...(flags.text("fingerprint") ? { fingerprint: flags.text("fingerprint")! } : {}),
      });
      if (lines.length === 0) throw new NotFound("no authority of the cluster fits");
      out(lines.join("\n"));
    }),
};

interface ExportOptions {
  /** Both SSH authorities when omitted. */
  readonly type?: ExportType;
  readonly privateKeys?: boolean;
  readonly fingerprintsOnly?: boolean;
  /** Only the key that has this fingerprint. */
  readonly fingerprint?: string;
}

/** Exported for tests. */
export function exportLines(authorities: readonly CertAuthority[], o: ExportOptions): string[] {
  if (o.type === "tls" && !o.fingerprintsOnly && !o.fingerprint) {
    // The host authority first: it is the one that the CA pin names.
    return byType(authorities, ["host", "user"]).flatMap(({ spec }) =>
      spec.tls_key_pairs.map(({ cert, key }) => (o.privateKeys ? key ?? "" : cert).trim())
    );
  }
  const types = o.type === "user" || o.type === "host" ? [o.type] : ["user", "host"] as const;
  return byType(authorities, types).flatMap(({ spec }) =>
    spec.checking_keys.flatMap((line, i) => {
      const { key } = parseAuthorizedKey(line);
      const print = fingerprint(key);
      if (o.fingerprint !== undefined && o.fingerprint !== print) return [];
      if (o.fingerprintsOnly) return [print];
      if (o.privateKeys) return [(spec.signing_keys?.[i] ?? "").trim()];
      if (spec.type === "host") {
        return [formatCertAuthorityLine([`*.${spec.cluster_name}`], key, "type=host")];
      }
      const comment = `clustername=${spec.cluster_name}&type=user`;
      return [`cert-authority ${formatAuthorizedKey(key, comment)}`];
    })
  );
}

function byType(
  authorities: readonly CertAuthority[],
  types: readonly ("user" | "host")[],
): CertAuthority[] {
  return types.flatMap((type) => authorities.filter(({ spec }) => spec.type === type));
}

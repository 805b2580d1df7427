/** A cluster's authorities, and identities signed by them, for tests. */
import { issueHostCertificate, issueUserCertificate } from "../cert/issue.ts";
import type { Certificate } from "../sshwire/certificate.ts";
import { generatePrivateKey, type PrivateKey } from "../sshwire/keys.ts";
import type { ClientIdentity } from "./identity.ts";

export const cluster = "main";

export class TestAuthority {
  readonly userCa = generatePrivateKey();
  readonly hostCa = generatePrivateKey();

  identity(
    options: { user?: string; logins?: string[]; ttlMs?: number } = {},
  ): ClientIdentity {
    const key = generatePrivateKey();
    const now = Date.now();
    const ttlMs = options.ttlMs ?? 3_600_000;
    return {
      key,
      certificate: issueUserCertificate({
        ca: this.userCa,
        key: key.publicKey,
        keyId: options.user ?? "joe",
        principals: options.logins ?? ["root"],
        validAfterMs: now - 120_000,
        validBeforeMs: now + ttlMs,
        extensions: {
          "permit-pty": "",
          "teleport-roles": JSON.stringify({ version: "v1", roles: ["admin"] }),
          "teleport-traits": JSON.stringify({ logins: ["root"] }),
        },
      }),
      cluster,
      hostKeys: [this.hostCa.publicKey],
      tlsAuthorities: [],
    };
  }

  host(
    principals: string[],
    role: string,
    ca = this.hostCa,
  ): { key: PrivateKey; certificate: Certificate } {
    const key = generatePrivateKey();
    const id = "11111111-2222-4333-8444-555555555555";
    return {
      key,
      certificate: issueHostCertificate({
        ca,
        key: key.publicKey,
        keyId: `${id}.${cluster}`,
        principals: [`${id}.${cluster}`, ...principals],
        validAfterMs: Date.now() - 60_000,
        extensions: { "x-teleport-role": role, "x-teleport-authority": cluster },
      }),
    };
  }
}

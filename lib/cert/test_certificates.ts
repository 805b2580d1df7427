/** For tests: authorities, keys, and certificates whose every field can be wrong. */
import {
  buildCertificate,
  type Certificate,
  type CertificateFields,
} from "../sshwire/certificate.ts";
import { generatePrivateKey, type PrivateKey } from "../sshwire/keys.ts";
import type { TrustedAuthority, WantedCertificate } from "./check.ts";

export const nowMs = Date.UTC(2025, 5, 1);
export const nowSeconds = BigInt(nowMs / 1000);
export const cluster = "main";
export const userCa = generatePrivateKey();
export const hostCa = generatePrivateKey();
export const userKey = generatePrivateKey();
export const hostKey = generatePrivateKey();

export const authorities: TrustedAuthority[] = [
  { cluster, type: "user", keys: [userCa.publicKey] },
  { cluster, type: "host", keys: [hostCa.publicKey] },
];

/** What a node asks about somebody who wants to be root. */
export const wantUser: WantedCertificate = {
  type: "user",
  authorities,
  principal: "root",
  address: "10.1.2.3",
  nowMs,
};

/** What a client asks about the host that it dialled. */
export const wantHost: WantedCertificate = {
  type: "host",
  authorities,
  principal: "node-1.main",
  nowMs,
};

/** Rightly signed, with no rule checked but those of the format. */
export function userCertificate(
  change: Partial<CertificateFields> = {},
  ca: PrivateKey = userCa,
): Certificate {
  return buildCertificate({
    key: userKey.publicKey,
    serial: 1n,
    type: "user",
    keyId: "joe",
    principals: ["root", "deploy"],
    validAfter: nowSeconds - 60n,
    validBefore: nowSeconds + 3600n,
    criticalOptions: new Map(),
    extensions: new Map(),
    ...change,
  }, ca);
}

/** As userCertificate(), for a host. */
export function hostCertificate(
  change: Partial<CertificateFields> = {},
  ca: PrivateKey = hostCa,
): Certificate {
  return userCertificate({
    key: hostKey.publicKey,
    type: "host",
    keyId: "node-1",
    principals: ["node-1.main", "node-1"],
    ...change,
  }, ca);
}

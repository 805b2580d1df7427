/**
 * Issuing certificates. The rules are checked on the finished certificate, not on the request: what
 * leaves here is what was judged.
 */
import { BadParameter } from "../base/errors.ts";
import { buildCertificate, type Certificate, forever } from "../sshwire/certificate.ts";
import { equalKeys, type PrivateKey, type PublicKey } from "../sshwire/keys.ts";
import { assertClusterName, assertName, assertPrincipal } from "./names.ts";
import {
  criticalOption,
  hostExtension,
  parseHostRoles,
  parseRoles,
  parseSourceAddresses,
  parseTraits,
  userExtension,
} from "./options.ts";

export interface IssueOptions {
  ca: PrivateKey;
  /** The key that is certified. */
  key: PublicKey;
  /** The user's name, or the host's id. */
  keyId: string;
  principals: readonly string[];
  /** Milliseconds since the epoch, rounded down to seconds. */
  validAfterMs: number;
  /** Names as in options.ts; "" is the value of a flag. */
  extensions: Readonly<Record<string, string>>;
  /** A random number unless told. */
  serial?: bigint;
}

export interface UserIssueOptions extends IssueOptions {
  /** Milliseconds since the epoch, rounded down to seconds. */
  validBeforeMs: number;
  criticalOptions?: Readonly<Record<string, string>>;
  /** What the user's roles allow at most. */
  limits?: {
    /** Milliseconds since the epoch that validBeforeMs may not be after. */
    latestEndMs?: number;
    principals?: readonly string[];
  };
}

export interface HostIssueOptions extends IssueOptions {
  /** As for a user; a host's certificate without it never expires. */
  validBeforeMs?: number;
}

/** @throws BadParameter when the certificate would break a rule */
export function issueUserCertificate(options: UserIssueOptions): Certificate {
  const certificate = build("user", options, options.principals, options.validBeforeMs);
  checkFinished(certificate, userExtensionRules);
  assertName(certificate.keyId, "user name");
  checkCriticalOptions(certificate);
  checkLimits(certificate, options.limits ?? {});
  return certificate;
}

/**
 * Principals become lower case, as OpenSSH looks hosts up.
 * @throws BadParameter when the certificate would break a rule
 */
export function issueHostCertificate(options: HostIssueOptions): Certificate {
  const principals = options.principals.map((principal) => principal.toLowerCase());
  const certificate = build("host", options, principals, options.validBeforeMs);
  checkFinished(certificate, hostExtensionRules);
  return certificate;
}

function build(
  type: "user" | "host",
  options: IssueOptions & { criticalOptions?: Readonly<Record<string, string>> },
  principals: readonly string[],
  validBeforeMs: number | undefined,
): Certificate {
  return buildCertificate({
    key: options.key,
    serial: options.serial ?? crypto.getRandomValues(new BigUint64Array(1))[0]!,
    type,
    keyId: options.keyId,
    principals: [...new Set(principals)],
    validAfter: seconds(options.validAfterMs),
    validBefore: validBeforeMs === undefined ? forever : seconds(validBeforeMs),
    criticalOptions: new Map(Object.entries(options.criticalOptions ?? {})),
    extensions: new Map(Object.entries(options.extensions)),
  }, options.ca);
}

function seconds(ms: number): bigint {
  if (!(ms >= 0 && ms <= 8.64e15)) throw new BadParameter("A certificate's time is out of range");
  return BigInt(Math.floor(ms / 1000));
}

type ValueRule = (value: string) => void;

const flag: ValueRule = (value) => {
  if (value !== "") throw new BadParameter("A flag in a certificate has no value");
};

const userExtensionRules: ReadonlyMap<string, ValueRule> = new Map<string, ValueRule>([
  [userExtension.permitPty, flag],
  [userExtension.permitPortForwarding, flag],
  [userExtension.permitAgentForwarding, flag],
  [userExtension.permitX11Forwarding, flag],
  [userExtension.roles, parseRoles],
  [userExtension.traits, parseTraits],
  [userExtension.routeToCluster, assertClusterName],
]);

const hostExtensionRules: ReadonlyMap<string, ValueRule> = new Map<string, ValueRule>([
  [hostExtension.role, parseHostRoles],
  [hostExtension.authority, assertClusterName],
]);

function checkFinished(certificate: Certificate, rules: ReadonlyMap<string, ValueRule>): void {
  const { key, signatureKey, principals, validAfter, validBefore, extensions } = certificate;
  if (equalKeys(key, signatureKey)) throw new BadParameter("An authority cannot certify itself");
  if (principals.length === 0) throw new BadParameter("A certificate needs a principal");
  principals.forEach(assertPrincipal);
  if (validAfter >= validBefore) {
    throw new BadParameter("A certificate cannot end before it starts");
  }
  for (const [name, value] of extensions) {
    const rule = rules.get(name);
    if (!rule) throw new BadParameter(`The extension ${JSON.stringify(name)} is not one of ours`);
    rule(value);
  }
}

function checkCriticalOptions(certificate: Certificate): void {
  for (const [name, value] of certificate.criticalOptions) {
    if (name === criticalOption.sourceAddress) parseSourceAddresses(value);
    else if (name !== criticalOption.forceCommand || value === "") {
      throw new BadParameter(`The critical option ${JSON.stringify(name)} is not one of ours`);
    }
  }
}

function checkLimits(
  { validBefore, principals }: Certificate,
  limits: NonNullable<UserIssueOptions["limits"]>,
): void {
  const { latestEndMs, principals: allowed } = limits;
  if (latestEndMs !== undefined && Number(validBefore) * 1000 > latestEndMs) {
    throw new BadParameter("The certificate would live longer than the user's roles allow");
  }
  const extra = allowed && principals.find((principal) => !allowed.includes(principal));
  if (extra !== undefined) {
    throw new BadParameter(`The user's roles do not allow the login ${JSON.stringify(extra)}`);
  }
}

/** Swaps a password and a code for a certificate. */
import { AccessDenied, BadParameter, messageOf } from "../base/errors.ts";
import { type HostPort, parseAddr } from "../base/net.ts";
import { assertClusterName, assertName } from "../cert/names.ts";
import { caPin, verifyPinnedAuthority } from "../cert/x509.ts";
import { type Certificate, parseCertificateLine } from "../sshwire/certificate.ts";
import {
  equalKeys,
  fingerprint,
  formatAuthorizedKey,
  generatePrivateKey,
  parseAuthorizedKey,
  type PublicKey,
} from "../sshwire/keys.ts";
import { assertMatching, type ClientIdentity } from "./identity.ts";
import { splitPem } from "./keystore.ts";
import type { Profile } from "./profile.ts";
import { defaultSshPort, type ProxyAddress } from "./proxy_address.ts";
import { normalizePin, type TrustedProxy, trustProxy } from "./trust.ts";
import type { LoginAnswer, PingAnswer } from "./webapi.ts";

/** Who answers the questions of a login. */
export interface LoginPrompter {
  secret(label: string): Promise<string>;
  line(label: string): Promise<string>;
}

export interface LoginOptions {
  proxy: ProxyAddress;
  user: string;
  /** How long the certificate is to be good for; the cluster may give less. */
  ttlMs: number;
  /** X.509 authorities of this proxy from an earlier login. */
  knownAuthorities: readonly string[];
  pin?: string;
  insecure?: boolean;
  /** Opened when the first question is due, after the proxy was found and is trusted. */
  prompter(): Promise<LoginPrompter>;
  /** Asks whether an unknown authority is to be trusted; undefined where nobody can be asked. */
  confirm?: (question: string) => Promise<boolean>;
  warn(text: string): void;
}

export interface LoginResult {
  profile: Profile;
  identity: ClientIdentity;
  tlsCertificate?: string;
}

export const defaultTtlMs = 12 * 3_600_000;

/**
 * @throws AccessDenied when the proxy is not trusted or the password, the code or the account is
 * not right; ConnectionProblem
 */
export async function login(options: LoginOptions): Promise<LoginResult> {
  const { proxy, user, pin } = options;
  assertName(user, "user name");
  const trusted = await trustProxy({
    address: { host: proxy.host, port: proxy.webPort },
    known: options.knownAuthorities,
    ...(pin === undefined ? {} : { pin }),
    ...(options.insecure ? { insecure: true } : {}),
    ...(options.confirm === undefined ? {} : { confirm: options.confirm }),
    warn: options.warn,
  });
  using web = trusted.web;
  const prompter = await options.prompter();
  const password = await prompter.secret(`Enter password for Teleport user ${user}:`);
  const otpToken = trusted.ping.secondFactor === "off"
    ? undefined
    : (await prompter.secret("Enter your OTP token:")).trim();
  const key = generatePrivateKey();
  const answer = await web.login({
    user,
    password,
    ...(otpToken === undefined ? {} : { otpToken }),
    publicKey: formatAuthorizedKey(key.publicKey, `teleport:${user}`),
    tlsPublicKey: key.publicKey.keyObject.export({ type: "spki", format: "der" }),
    ttlMs: options.ttlMs,
  });
  const certificate = readCertificate(answer.certificate, user);
  assertMatching(key, certificate, "the proxy's answer");
  const { cluster, hostKeys, authorities } = await readSigners(answer, trusted, pin);
  return {
    profile: {
      name: proxy.host,
      web: { host: proxy.host, port: proxy.webPort },
      ssh: sshAddressOf(proxy, trusted.ping),
      user,
      cluster,
    },
    identity: {
      key,
      certificate,
      cluster,
      hostKeys,
      tlsAuthorities: options.insecure && pin === undefined ? [] : authorities,
    },
    ...(answer.tlsCertificate === undefined ? {} : { tlsCertificate: answer.tlsCertificate }),
  };
}

/** Where the proxy's SSH is: as given by the user, else as the proxy says, else the default. */
export function sshAddressOf(proxy: ProxyAddress, ping: PingAnswer | undefined): HostPort {
  if (proxy.sshPort !== undefined) return { host: proxy.host, port: proxy.sshPort };
  const { publicAddr, listenAddr } = ping?.ssh ?? {};
  if (publicAddr !== undefined) return parseAddr(publicAddr, defaultSshPort);
  const port = listenAddr === undefined
    ? defaultSshPort
    : parseAddr(listenAddr, defaultSshPort).port;
  return { host: proxy.host, port };
}

function readCertificate(line: string, user: string): Certificate {
  const certificate = parseCertificateLine(line);
  if (certificate.type === "user" && certificate.keyId === user) return certificate;
  throw new AccessDenied(`The proxy gave a certificate that is not one of the user ${user}`);
}

/** The cluster's host CAs; with a pin, only when the pin vouches for them. */
async function readSigners(
  answer: LoginAnswer,
  trusted: TrustedProxy,
  pin: string | undefined,
): Promise<{ cluster: string; hostKeys: PublicKey[]; authorities: string[] }> {
  const named = trusted.ping.clusterName;
  const signer = answer.hostSigners.find((each) => each.cluster === named) ??
    (named === "" ? answer.hostSigners[0] : undefined);
  if (!signer || signer.checkingKeys.length === 0) {
    throw new BadParameter(
      "The proxy's answer names no host CA of its cluster, without which no node can be " +
        "recognised: are proxy and tsh of matching versions?",
    );
  }
  assertClusterName(signer.cluster);
  const hostKeys = signer.checkingKeys.map((line) => parseAuthorizedKey(line).key);
  const tlsAuthorities = signer.tlsAuthorities.flatMap(splitPem);
  if (pin !== undefined) await checkPin(normalizePin(pin), hostKeys, tlsAuthorities);
  const authorities = [...new Set([...trusted.authorities, ...tlsAuthorities])];
  return { cluster: signer.cluster, hostKeys, authorities };
}

async function checkPin(pin: string, hostKeys: PublicKey[], authorities: string[]): Promise<void> {
  const pinned = authorities.find((pem) => caPin(pem) === pin);
  if (pinned === undefined) {
    throw new AccessDenied(
      `The cluster's authority does not have the pin ${pin}: compare it with \`tctl status\``,
    );
  }
  let sshKey: PublicKey;
  try {
    sshKey = (await verifyPinnedAuthority(pinned, pin)).sshCaKey;
  } catch (cause) {
    throw new AccessDenied(`The cluster's authority is refused: ${messageOf(cause)}`, { cause });
  }
  if (hostKeys.some((key) => equalKeys(key, sshKey))) return;
  throw new AccessDenied(
    `The pinned authority does not vouch for the host CA that the proxy gave: it holds ` +
      `${fingerprint(sshKey)}`,
  );
}

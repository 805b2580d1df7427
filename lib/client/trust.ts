/**
 * Whom to believe to be the proxy, before anything secret is said to it: the authorities of this
 * computer, those of an earlier login, a pin, or the user's own yes to a fingerprint. Never silence.
 */
import { AccessDenied, messageOf } from "../base/errors.ts";
import type { HostPort } from "../base/net.ts";
import { caPin } from "../cert/x509.ts";
import { webUrl } from "./proxy_address.ts";
import { fetchCertificateChain } from "./tls_probe.ts";
import { type PingAnswer, UntrustedCertificate, WebApi } from "./webapi.ts";

export interface TrustOptions {
  address: HostPort;
  /** X.509 authorities that an earlier login stored for this proxy. */
  known: readonly string[];
  /** "sha256:<hex>" as `tctl status` shows it. */
  pin?: string;
  /** Believe whatever the proxy shows, with a warning. */
  insecure?: boolean;
  /** Asks the user; undefined where there is nobody to ask. */
  confirm?: (question: string) => Promise<boolean>;
  warn(text: string): void;
}

export interface TrustedProxy {
  web: WebApi;
  ping: PingAnswer;
  /** The authorities to store for the next time; the computer's own are not among them. */
  authorities: string[];
}

/**
 * Opens the web API of a proxy that is believed to be the right one. The caller closes `web`.
 * @throws AccessDenied when it is not believed; ConnectionProblem
 */
export async function trustProxy(options: TrustOptions): Promise<TrustedProxy> {
  const { address, known, pin } = options;
  if (pin !== undefined) return await trustPinned(address, normalizePin(pin));
  try {
    return await open(address, known);
  } catch (e) {
    if (!(e instanceof UntrustedCertificate)) throw e;
    if (known.length > 0 && !options.insecure) throw changedAuthority(address, e);
    return await firstUse(options, e);
  }
}

/** @throws AccessDenied unless `pin` is "sha256:" and 64 hexadecimal digits */
export function normalizePin(pin: string): string {
  const plain = pin.trim().toLowerCase();
  if (/^sha256:[0-9a-f]{64}$/.test(plain)) return plain;
  throw new AccessDenied(
    "--ca-pin cannot be read: it is sha256: and 64 hexadecimal digits, as `tctl status` shows it",
  );
}

async function trustPinned(address: HostPort, pin: string): Promise<TrustedProxy> {
  const chain = await fetchCertificateChain(address);
  for (const pem of chain) {
    if (pinOf(pem) === pin) return await open(address, [pem]);
  }
  try {
    // The proxy's HTTPS may have a certificate of a public authority; the pin then vouches for the
    // cluster's own authorities, which login checks.
    return await open(address, []);
  } catch (e) {
    if (!(e instanceof UntrustedCertificate)) throw e;
    throw new AccessDenied(
      `The proxy at ${webUrl(address)} does not have the CA with the pin ${pin}: either the pin ` +
        "is not this cluster's (compare `tctl status`), or this is not the proxy you mean",
      { cause: e },
    );
  }
}

async function firstUse(options: TrustOptions, cause: Error): Promise<TrustedProxy> {
  const { address } = options;
  const where = webUrl(address);
  const chain = await fetchCertificateChain(address);
  // The last certificate of a chain signed, by way of the others, all of them.
  const authority = chain.at(-1) ?? "";
  const pin = pinOf(authority);
  if (options.insecure) {
    options.warn(`You are using insecure connection to SSH proxy ${where}`);
    const proxy = await open(address, chain);
    return { ...proxy, authorities: [] };
  }
  const advice = `compare it with the "CA pin" that \`tctl status\` shows on the auth server`;
  const yes = await options.confirm?.(
    `The authenticity of ${where} can't be established: its certificate authority is unknown.\n` +
      `The authority's fingerprint is ${pin}\n` +
      `(${advice}).\nAre you sure you want to continue (yes/no)?`,
  );
  if (yes) return await open(address, [authority]);
  throw new AccessDenied(
    yes === false
      ? `The proxy at ${where} is not trusted`
      : `The proxy at ${where} is not trusted: its certificate authority ${pin} is ` +
        `unknown; ${advice}, then log in with --ca-pin=<pin>`,
    { cause },
  );
}

function pinOf(pem: string): string {
  try {
    return caPin(pem);
  } catch (cause) {
    throw new AccessDenied(`The proxy's certificate cannot be read: ${messageOf(cause)}`, {
      cause,
    });
  }
}

async function open(address: HostPort, authorities: readonly string[]): Promise<TrustedProxy> {
  const web = new WebApi(address, [...authorities, ...systemAuthorities()]);
  try {
    return { web, ping: await web.ping(), authorities: [...authorities] };
  } catch (e) {
    web[Symbol.dispose]();
    throw e;
  }
}

function changedAuthority(address: HostPort, cause: Error): AccessDenied {
  return new AccessDenied(
    `The certificate of ${webUrl(address)} is not from the authority that was trusted before: ` +
      "either the cluster's CA was changed, or somebody stands in between. Ask an administrator; " +
      "if it was changed, log in with --ca-pin=<pin>, or forget the old one by `tsh logout`",
    { cause },
  );
}

/** Deno brings Mozilla's list; what an administrator added to this computer's list counts, too. */
function systemAuthorities(): string[] {
  const paths = [
    Deno.env.get("SSL_CERT_FILE"),
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
  ];
  for (const path of paths) {
    if (!path) continue;
    try {
      return [Deno.readTextFileSync(path)];
    } catch {
      // Not this system's place.
    }
  }
  return [];
}

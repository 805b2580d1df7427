/**
 * What may be written into a certificate as a name. OpenSSH, shells, ssh_config patterns and our
 * own storage keys all read these names, so only characters that mean nothing to any of them pass.
 */
import { isIpAddress } from "../base/net.ts";
import { BadParameter } from "../base/errors.ts";

const nologinPrefix = "-teleport-nologin-";
const uuid = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
const nologin = new RegExp(`^${nologinPrefix}${uuid}$`);
const principal = /^[A-Za-z0-9_:][A-Za-z0-9_.@:+\\$-]{0,254}$/;
const name = /^[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,254}$/;
const hostLabels = /^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/;

/**
 * A principal: an OS login, a host name or an IP address; at most 255 ASCII characters, no comma,
 * white space, wildcard, quote, slash or leading dash.
 */
export function isPrincipal(text: string): boolean {
  return principal.test(text) || nologin.test(text);
}

/** @throws BadParameter unless isPrincipal() */
export function assertPrincipal(text: string): void {
  if (isPrincipal(text)) return;
  throw new BadParameter(
    `${shown(text)} cannot be a principal: use letters, digits and _ . @ : + - (at most 255)`,
  );
}

/** The principal that says "no login at all", which no account can have as its name. */
export function nologinPrincipal(uuid: string): string {
  return nologinPrefix + uuid;
}

export function isNologinPrincipal(text: string): boolean {
  return nologin.test(text);
}

/** A name of a user or a role. */
export function isName(text: string): boolean {
  return name.test(text);
}

/**
 * @param what says in the message whose name it is, e.g. "user name"
 * @throws BadParameter unless isName()
 */
export function assertName(text: string, what = "name"): void {
  if (isName(text)) return;
  throw new BadParameter(
    `${shown(text)} cannot be a ${what}: use letters, digits and _ . @ + - (at most 255)`,
  );
}

/** A DNS name in lower case, without wildcard and final dot; at most 253 characters. */
export function isHostName(text: string): boolean {
  return text.length <= 253 && hostLabels.test(text);
}

/** @throws BadParameter: a cluster's name ends host names, so it must be one itself */
export function assertClusterName(text: string): void {
  if (isHostName(text) && !isIpAddress(text)) return;
  throw new BadParameter(
    `${shown(text)} cannot be a cluster name: use lower-case letters, digits, dots and dashes`,
  );
}

function shown(text: string): string {
  return JSON.stringify(text.length > 64 ? `${text.slice(0, 64)}…` : text);
}

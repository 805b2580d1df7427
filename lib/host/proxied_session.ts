/**
 * How a proxy that records tells a node so: by a variable of the session, with the session's id and
 * a signature by the proxy's host key. It is then one session with one id at both, and the node
 * leaves the recording to the proxy. That a connection comes from a proxy's address proves less:
 * whoever has a program there could claim that somebody else records.
 */
import { fromBase64, toBase64, utf8Decode, utf8Encode } from "../base/bytes.ts";
import { AccessDenied } from "../base/errors.ts";
import { isUuid } from "../base/ids.ts";
import { checkCertificate, type TrustedAuthority } from "../cert/check.ts";
import { hostIdentityOf } from "../cert/identity.ts";
import { type Certificate, parseCertificate } from "../sshwire/certificate.ts";
import { WireReader, WireWriter } from "../sshwire/codec.ts";
import { equalKeys, type PrivateKey } from "../sshwire/keys.ts";
import { signSshsig, verifySshsig } from "../sshwire/sshsig.ts";

/** The variable. Clients cannot set it: the proxy does not pass theirs on. */
export const PROXIED_SESSION = "TELEPORT_PROXIED_SESSION";
/** The variable by which a client says which session it wants to join. */
export const JOINED_SESSION = "TELEPORT_SESSION";

const NAMESPACE = "proxied-session@teleport";

/** What is signed: good for one session of one user on one node. */
export interface ProxiedSession {
  /** UUID of the session. */
  readonly sid: string;
  /** UUID of the node. */
  readonly nodeId: string;
  readonly user: string;
  /** OS login. */
  readonly login: string;
}

/** The variable's value. */
export function proveProxied(
  session: ProxiedSession,
  proxy: { readonly key: PrivateKey; readonly certificate: Certificate },
): string {
  const signature = signSshsig(proxy.key, NAMESPACE, signedData(session)).trim();
  return toBase64(
    new WireWriter().string(session.sid).string(proxy.certificate.blob).string(signature).bytes(),
  );
}

/**
 * @param authorities the trusted host authorities of the node's own cluster
 * @returns the session's id
 * @throws AccessDenied, BadParameter when it is not proved that a proxy of the cluster says so
 */
export function checkProxied(
  value: string,
  want: Omit<ProxiedSession, "sid">,
  authorities: TrustedAuthority[],
  nowMs: number,
): string {
  const reader = new WireReader(fromBase64(value), "proof of a proxied session");
  const sid = reader.utf8();
  const certificate = parseCertificate(Uint8Array.from(reader.string()));
  const signature = utf8Decode(reader.string());
  reader.end();
  if (!isUuid(sid)) throw new AccessDenied("its id is no UUID");
  const { roles } = hostIdentityOf(
    checkCertificate(certificate, { type: "host", authorities, anyPrincipal: true, nowMs }),
  );
  if (!roles.includes("Proxy")) throw new AccessDenied("the host that says so is no proxy");
  const signer = verifySshsig(signature, NAMESPACE, signedData({ ...want, sid }));
  if (!equalKeys(signer, certificate.key)) throw new AccessDenied("another key has signed it");
  return sid;
}

function signedData({ sid, nodeId, user, login }: ProxiedSession): Uint8Array {
  return utf8Encode(JSON.stringify([sid, nodeId, user, login]));
}

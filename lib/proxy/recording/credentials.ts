/** With what of a user's agent the proxy logs in to the target: the user's own certificate alone. */
import { equalBytes } from "../../base/bytes.ts";
import { AccessDenied, messageOf } from "../../base/errors.ts";
import { checkCertificate, type TrustedAuthority } from "../../cert/check.ts";
import { type UserIdentity, userIdentityOf } from "../../cert/identity.ts";
import type { AgentSigner, ClientCredential } from "../../ssh/client.ts";
import type { AgentIdentity } from "../../sshwire/agent.ts";
import { type Certificate, parseCertificate } from "../../sshwire/certificate.ts";
import type { SignatureAlgorithm } from "../../sshwire/keys.ts";

export interface CredentialsWanted {
  /** Who the client has proved to be. */
  readonly identity: UserIdentity;
  readonly login: string;
  /** The client's IP address. */
  readonly address: string;
  readonly authorities: TrustedAuthority[];
  readonly nowMs: number;
}

/** What of an agent is asked. */
export interface Signing {
  list(): Promise<AgentIdentity[]>;
  sign(blob: Uint8Array, data: Uint8Array, algorithm: SignatureAlgorithm): Promise<Uint8Array>;
}

/**
 * The certificate by which the client logged in here, when the agent has its key; else another
 * certificate of the same user for the same login. Nothing else in the agent is touched.
 *
 * @throws AccessDenied when the agent has neither; ConnectionProblem when it does not answer
 */
export async function credentialOf(
  agent: Signing,
  wanted: CredentialsWanted,
): Promise<ClientCredential> {
  const held = await agent.list();
  const own = wanted.identity.certificate;
  // Some agents cannot hold certificates: the bare key is the same key.
  for (const blob of [own.blob, own.key.blob]) {
    if (held.some((each) => equalBytes(each.blob, blob))) return signer(agent, blob, own);
  }
  const refusals: string[] = [];
  for (const { blob } of held) {
    const certificate = parsed(blob);
    if (!certificate) continue;
    try {
      checkOther(certificate, wanted);
      return signer(agent, blob, certificate);
    } catch (error) {
      refusals.push(messageOf(error));
    }
  }
  const { identity: { user }, login } = wanted;
  throw new AccessDenied(
    `recording proxy mode: your ssh-agent holds no certificate of user "${user}" for the login ` +
      `"${login}"${refusals.length > 0 ? ` (${refusals.slice(0, 3).join("; ")})` : ""}: run ` +
      "`tsh login` with a running ssh-agent, and connect with -A again",
  );
}

/** @throws AccessDenied unless it is good, and of the user who is logged in here */
function checkOther(certificate: Certificate, wanted: CredentialsWanted): void {
  const { identity, login, address, authorities, nowMs } = wanted;
  const other = userIdentityOf(checkCertificate(certificate, {
    type: "user",
    authorities,
    principal: login,
    address,
    nowMs,
    understood: { forceCommand: true },
  }));
  if (other.user !== identity.user || other.cluster !== identity.cluster) {
    throw new AccessDenied(`there is one of user "${other.user}"`);
  }
}

function parsed(blob: Uint8Array): Certificate | undefined {
  try {
    return parseCertificate(blob);
  } catch {
    // A bare key, or a kind of key that is not ours.
    return undefined;
  }
}

function signer(agent: Signing, blob: Uint8Array, certificate: Certificate): ClientCredential {
  const key: AgentSigner = {
    publicKey: certificate.key,
    sign: (data, algorithm) => agent.sign(blob, data, algorithm),
  };
  return { certificate, key };
}

/** Which certificate the HTTPS port shows: the configured files, or the host's own. */
import { BadParameter, messageOf } from "../../base/errors.ts";
import type { HostIdentity, TlsPair } from "../../host/identity.ts";

export interface CertificateFiles {
  readonly keyFile: string;
  readonly certFile: string;
}

/**
 * The configured pair, as the files are now; without one, the host's certificate from the cluster's
 * CA with that CA behind it, so that a client with the pin can check the chain.
 *
 * @throws BadParameter naming the file that cannot be used, or when there is no certificate at all
 */
export async function loadCertificate(
  files: CertificateFiles | undefined,
  identity: HostIdentity,
): Promise<TlsPair> {
  if (!files) {
    if (identity.tls) return identity.tls;
    throw new BadParameter(
      "this proxy has no TLS certificate; set https_key_file and https_cert_file, or remove " +
        "<data_dir>/proc/proxy and join again",
    );
  }
  const keyPem = await readPem(files.keyFile, "https_key_file", /-----BEGIN [A-Z ]*PRIVATE KEY/);
  const certPem = await readPem(files.certFile, "https_cert_file", /-----BEGIN CERTIFICATE/);
  return { keyPem, certPem };
}

async function readPem(path: string, setting: string, looksRight: RegExp): Promise<string> {
  let text: string;
  try {
    text = await Deno.readTextFile(path);
  } catch (error) {
    throw new BadParameter(`${setting}: cannot read ${path}: ${messageOf(error)}`, {
      cause: error,
    });
  }
  if (!looksRight.test(text)) {
    throw new BadParameter(`${setting}: ${path} is not the PEM it should be`);
  }
  return text;
}

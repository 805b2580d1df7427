/** The block that makes stock ssh, and all that runs on it, go through the proxy. Pure. */
import { loginsOf } from "./identity.ts";
import { keyPaths } from "./keystore.ts";
import type { Profile } from "./profile.ts";
import type { Certificate } from "../sshwire/certificate.ts";

export interface SshConfigOptions {
  dir: string;
  profile: Profile;
  certificate: Certificate;
  /** The path of tsh itself. */
  tsh: string;
  /** Set where the files are not in the usual place. */
  home?: string;
}

/** ssh_config(5) for the hosts of a cluster: `ssh node.cluster`. */
export function formatSshConfig(options: SshConfigOptions): string {
  const { dir, profile, certificate, tsh } = options;
  const paths = keyPaths(dir, profile);
  const login = loginsOf(certificate)[0];
  const home = options.home === undefined ? "" : `env TELEPORT_HOME=${shellWord(options.home)} `;
  const proxy = shellWord(
    `${bracketed(profile.web.host)}:${profile.web.port},${profile.ssh.port}`,
  );
  return [
    `# Hosts of the Teleport cluster ${profile.cluster}: ssh <login>@<node>.${profile.cluster}`,
    "# Made by `tsh config`.",
    `Host *.${profile.cluster}`,
    ...(login === undefined ? [] : [`    User ${login}`]),
    "    Port 3022",
    `    UserKnownHostsFile ${quoted(paths.knownHosts)}`,
    `    IdentityFile ${quoted(paths.key)}`,
    `    CertificateFile ${quoted(paths.certificate)}`,
    "    IdentitiesOnly yes",
    "    StrictHostKeyChecking yes",
    `    ProxyCommand ${home}${shellWord(tsh)} proxy ssh --proxy=${proxy} ` +
    `--user=${shellWord(profile.user)} %r@%h:%p`,
  ].join("\n");
}

/** A value of ssh_config: percent signs are its own, quotes keep spaces. */
function quoted(path: string): string {
  const escaped = path.replaceAll("%", "%%");
  return /[\s"#]/.test(escaped) ? `"${escaped.replaceAll('"', '\\"')}"` : escaped;
}

/** A word for the shell that runs ProxyCommand. */
function shellWord(text: string): string {
  const escaped = text.replaceAll("%", "%%");
  return /^[\w@%+=:,./[\]-]+$/.test(escaped) ? escaped : `'${escaped.replaceAll("'", "'\\''")}'`;
}

function bracketed(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

import { NotFound } from "../../lib/base/errors.ts";
import { formatOption } from "../../lib/cli/flags.ts";
import { printData } from "../../lib/cli/output.ts";
import type { CommandSpec } from "../../lib/cli/program.ts";
import { keyPaths, readIdentity } from "../../lib/client/keystore.ts";
import { profileDirectory } from "../../lib/client/profile.ts";
import { formatSshConfig } from "../../lib/client/ssh_config.ts";
import { findProfile } from "./credentials.ts";
import { selfCommand } from "./self.ts";

export const command: CommandSpec = {
  name: "config",
  summary: "print the ssh_config block for ssh, scp, rsync, git, …",
  description:
    "Print a block for ~/.ssh/config. With it stock ssh, and everything that runs on it,\n" +
    "reaches the cluster's nodes as <node>.<cluster>.",
  options: [formatOption],
  examples: [
    ["tsh config >> ~/.ssh/config", "once"],
    ["ssh root@db-1.main", "from then on"],
    ["rsync -a site/ root@web-1.main:/srv/www/", "and rsync, git, sftp, VS Code, …"],
  ],
  run(_args, flags) {
    const dir = profileDirectory();
    const profile = findProfile(flags, dir);
    if (!profile) throw new NotFound("Not logged in: run `tsh login --proxy=<address>`");
    const { certificate } = readIdentity(dir, profile);
    const home = Deno.env.get("TELEPORT_HOME");
    const text = formatSshConfig({
      dir: absolute(dir),
      profile,
      certificate,
      tsh: selfCommand(),
      ...(home ? { home: absolute(home) } : {}),
    });
    const paths = keyPaths(absolute(dir), profile);
    const data = {
      cluster: profile.cluster,
      hosts: `*.${profile.cluster}`,
      identity_file: paths.key,
      certificate_file: paths.certificate,
      known_hosts_file: paths.knownHosts,
      ssh_config: text,
    };
    printData(flags.format(), data, () => text);
  },
};

function absolute(path: string): string {
  return path.startsWith("/") ? path : `${Deno.cwd()}/${path}`;
}

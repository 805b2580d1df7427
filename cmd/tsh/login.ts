import { BadParameter } from "../../lib/base/errors.ts";
import { UsageError } from "../../lib/cli/exit.ts";
import type { Flags } from "../../lib/cli/flags.ts";
import { say } from "../../lib/cli/output.ts";
import type { CommandSpec } from "../../lib/cli/program.ts";
import { openPrompter } from "../../lib/cli/prompt.ts";
import { isExpired } from "../../lib/client/identity.ts";
import { writeIdentityFile, writeOpenSshFiles } from "../../lib/client/identity_file.ts";
import { readIdentity } from "../../lib/client/keystore.ts";
import { profileDirectory, readCurrentProfile, writeProfile } from "../../lib/client/profile.ts";
import { formatAddr } from "../../lib/base/net.ts";
import { parseProxyAddress, type ProxyAddress } from "../../lib/client/proxy_address.ts";
import { findProfile, proxyOf } from "./credentials.ts";
import { localUser } from "./local_user.ts";
import { logIn, logInAndStore } from "./log_in.ts";
import { refuseOtherCluster } from "./other_cluster.ts";
import { printStatus } from "./print_status.ts";

const fileFormats = ["file", "openssh"];
const printFormats = ["text", "json", "yaml"];

export const command: CommandSpec = {
  name: "login",
  summary: "log in to a cluster",
  description:
    "Log in to a cluster with your password and one-time code. The certificate goes to\n" +
    "~/.tsh (or TELEPORT_HOME) and into the running ssh-agent.",
  arguments: [{ name: "[cluster]", about: "the cluster; so far only the proxy's own" }],
  options: [
    {
      flags: "-o, --out <file>",
      description: "write the certificate there instead, for a program (see --format)",
    },
    {
      flags: "--format <format>",
      description: "with --out: file or openssh; without: text, json or yaml",
    },
    { flags: "--request-roles <roles>", description: "", refused: "access requests" },
    { flags: "--request-reason <text>", description: "", refused: "access requests" },
    { flags: "--browser <how>", description: "", refused: "single sign-on" },
  ],
  notes: "Scripts give the password as the first line of stdin and the code as the second.\n" +
    "A proxy whose certificate authority is unknown is trusted by --ca-pin, or by your yes to its\n" +
    'fingerprint; compare it with the "CA pin" that `tctl status` shows.',
  examples: [
    ["tsh login --proxy=proxy.example.com --user=joe", "asks for what it needs"],
    ["tsh login --proxy=proxy.example.com --ca-pin=sha256:7e12…", "trusts this cluster only"],
    [
      "tsh login --proxy=proxy.example.com --ttl=60 --out=ci-identity",
      "an identity for a pipeline",
    ],
    ['printf "%s\\n" "$PASSWORD" "$CODE" | tsh login --proxy=proxy.example.com', "by a script"],
  ],
  async run([cluster], flags) {
    const out = flags.text("out");
    const format = checkFormat(flags.text("format"), out);
    const proxy = proxyToUse(flags);
    const user = userToUse(flags);
    if (out === undefined) {
      if (await isLoggedIn(flags, proxy, user, cluster)) return printStatus(flags, format);
      const result = await withPrompter((ask) => logInAndStore(flags, proxy, user, ask));
      refuseCluster(cluster, result.profile.cluster);
      return printStatus(flags, format);
    }
    const { identity, tlsCertificate, profile } = await withPrompter((ask) =>
      logIn(flags, proxy, user, ask)
    );
    refuseCluster(cluster, profile.cluster);
    const paths = format === "openssh"
      ? await writeOpenSshFiles(out, identity)
      : await writeIdentityFile(out, identity, tlsCertificate);
    say(`The certificate has been written to ${paths.join(",")}`);
    return 0;
  },
};

function checkFormat(format: string | undefined, out: string | undefined): string {
  const [allowed, otherwise] = out === undefined ? [printFormats, "text"] : [fileFormats, "file"];
  if (format === undefined) return otherwise;
  if (allowed.includes(format)) return format;
  throw new UsageError(
    out === undefined && fileFormats.includes(format)
      ? `--format=${format} says how to write a file: give its name by --out`
      : `--format=${format} is not one of ${allowed.join(", ")}`,
  );
}

/** The proxy that was named, else that of the profile in use. */
function proxyToUse(flags: Flags): ProxyAddress {
  const named = proxyOf(flags);
  const profile = findProfile(flags);
  if (named && !profile) return named;
  if (!profile) {
    throw new BadParameter("--proxy is missing: say where to log in, --proxy=proxy.example.com");
  }
  // A host that was logged in to before keeps its port, as long as no other is named.
  return named?.webPortGiven ? named : {
    ...parseProxyAddress(formatAddr({ host: profile.name, port: profile.web.port })),
    ...(named?.sshPort === undefined ? {} : { sshPort: named.sshPort }),
  };
}

function userToUse(flags: Flags): string {
  const user = flags.text("user") ?? findProfile(flags)?.user ?? localUser();
  if (user) return user;
  throw new BadParameter("--user is missing: say who you are in Teleport, --user=joe");
}

/** A live certificate is used on; logging in at the place makes it the one in use. */
async function isLoggedIn(
  flags: Flags,
  proxy: ProxyAddress,
  user: string,
  cluster: string | undefined,
): Promise<boolean> {
  // Whoever says how long the certificate shall be good for wants a new one.
  if (flags.text("ttl") !== undefined || flags.text("ca-pin") !== undefined) return false;
  const dir = profileDirectory();
  const profile = findProfile(flags, dir);
  if (!profile || profile.name !== proxy.host || profile.web.port !== proxy.webPort) return false;
  if (profile.user !== user) return false;
  try {
    if (isExpired(readIdentity(dir, profile).certificate)) return false;
  } catch {
    return false;
  }
  refuseCluster(cluster, profile.cluster);
  refuseOtherCluster(flags, profile.cluster);
  if (readCurrentProfile(dir)?.name !== profile.name) await writeProfile(dir, profile);
  return true;
}

function refuseCluster(asked: string | undefined, own: string): void {
  if (asked === undefined || asked === own) return;
  throw new BadParameter(
    `This version logs in to the proxy's own cluster (${own}) only, not to ${asked}`,
  );
}

/** The prompter is opened by the first question, and closed when all is done. */
async function withPrompter<T>(
  body: (ask: () => ReturnType<typeof openPrompter>) => Promise<T>,
): Promise<T> {
  let prompter: Awaited<ReturnType<typeof openPrompter>> | undefined;
  try {
    return await body(async () => prompter ??= await openPrompter());
  } finally {
    prompter?.[Symbol.dispose]?.();
  }
}

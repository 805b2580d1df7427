import { NotFound } from "../../lib/base/errors.ts";
import { UsageError } from "../../lib/cli/exit.ts";
import type { Flags } from "../../lib/cli/flags.ts";
import { say } from "../../lib/cli/output.ts";
import type { CommandSpec } from "../../lib/cli/program.ts";
import { withdrawFromAgent } from "../../lib/client/agent.ts";
import { readTextIfThere, removeIfThere } from "../../lib/client/files.ts";
import { keyPaths, removeIdentity } from "../../lib/client/keystore.ts";
import {
  profileDirectory,
  readProfile,
  readProfiles,
  removeProfile,
} from "../../lib/client/profile.ts";
import { parseCertificateLine } from "../../lib/sshwire/certificate.ts";
import { proxyOf } from "./credentials.ts";

export const command: CommandSpec = {
  name: "logout",
  summary: "forget certificates",
  description: "Remove your keys and certificates from this computer and from the ssh-agent:\n" +
    "all of them, or with --proxy and --user those of one login.",
  examples: [
    ["tsh logout", "everywhere"],
    ["tsh logout --proxy=proxy.example.com --user=joe", "one login"],
  ],
  async run(_args, flags) {
    // TELEPORT_PROXY alone says where to log in, not what to log out of.
    const one = givenBoth(flags);
    if (one) await logOutOf(one.proxy, one.user, flags);
    else await logOutOfAll(flags);
  },
};

function givenBoth(flags: Flags): { proxy: string; user: string } | undefined {
  const proxy = proxyOf(flags)?.host;
  const user = flags.text("user");
  const [fromEnvProxy, fromEnvUser] = [
    Deno.env.get("TELEPORT_PROXY") === flags.text("proxy"),
    Deno.env.get("TELEPORT_USER") === user,
  ];
  const namedProxy = proxy !== undefined && !fromEnvProxy;
  const namedUser = user !== undefined && !fromEnvUser;
  if (!namedProxy && !namedUser) return undefined;
  if (proxy !== undefined && user !== undefined) return { proxy, user };
  throw new UsageError(
    "logging out of one login needs --proxy and --user; without both, `tsh logout` forgets all",
  );
}

async function logOutOf(proxy: string, user: string, flags: Flags): Promise<void> {
  const dir = profileDirectory();
  const profile = readProfile(dir, proxy);
  const own = profile && { ...profile, user };
  const certificate = own && readTextIfThere(keyPaths(dir, own).certificate);
  if (!profile || !own || certificate === undefined) {
    throw new NotFound(`${user} is not logged in at ${proxy}: \`tsh status\` shows who is`);
  }
  if (flags.on("use-local-ssh-agent")) {
    await withdrawFromAgent(agentSocket(), blobOf(certificate));
  }
  await removeIdentity(dir, own);
  if (profile.user === user) await removeProfile(dir, proxy);
  say(`Logged out ${user} from ${proxy}.`);
}

async function logOutOfAll(flags: Flags): Promise<void> {
  const dir = profileDirectory();
  if (flags.on("use-local-ssh-agent")) await withdrawFromAgent(agentSocket());
  for (const profile of readProfiles(dir)) await removeProfile(dir, profile.name);
  for (const name of ["keys", "known_hosts", "current-profile"]) {
    await removeIfThere(`${dir}/${name}`);
  }
  say("Logged out all users from all proxies.");
}

function blobOf(line: string): Uint8Array | undefined {
  try {
    return parseCertificateLine(line).blob;
  } catch {
    return undefined;
  }
}

function agentSocket(): string | undefined {
  return Deno.env.get("SSH_AUTH_SOCK");
}

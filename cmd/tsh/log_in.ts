/** The login that `tsh login` and an expired certificate share: ask, get, store. */
import type { Flags } from "../../lib/cli/flags.ts";
import { warn } from "../../lib/cli/output.ts";
import { openTerminal } from "../../lib/cli/prompt.ts";
import { offerToAgent } from "../../lib/client/agent.ts";
import { readTlsAuthorities, writeIdentity } from "../../lib/client/keystore.ts";
import {
  defaultTtlMs,
  login,
  type LoginPrompter,
  type LoginResult,
} from "../../lib/client/login.ts";
import { profileDirectory, readProfile, writeProfile } from "../../lib/client/profile.ts";
import type { ProxyAddress } from "../../lib/client/proxy_address.ts";
import { refuseOtherCluster } from "./other_cluster.ts";

/** Logs in without storing anything. */
export async function logIn(
  flags: Flags,
  proxy: ProxyAddress,
  user: string,
  prompter: () => Promise<LoginPrompter>,
): Promise<LoginResult> {
  const pin = flags.text("ca-pin");
  const confirm = confirmer();
  const result = await login({
    proxy,
    user,
    ttlMs: ttlOf(flags),
    knownAuthorities: knownAuthorities(proxy),
    ...(pin === undefined ? {} : { pin }),
    ...(flags.on("insecure") ? { insecure: true } : {}),
    prompter,
    ...(confirm === undefined ? {} : { confirm }),
    warn,
  });
  refuseOtherCluster(flags, result.profile.cluster);
  return result;
}

/** Logs in, and makes the result the current profile. */
export async function logInAndStore(
  flags: Flags,
  proxy: ProxyAddress,
  user: string,
  prompter: () => Promise<LoginPrompter>,
  useAgent = flags.on("use-local-ssh-agent"),
): Promise<LoginResult> {
  const result = await logIn(flags, proxy, user, prompter);
  const dir = profileDirectory();
  await writeIdentity(dir, result.profile, result.identity, result.tlsCertificate);
  await writeProfile(dir, result.profile);
  if (useAgent) {
    await offerToAgent(Deno.env.get("SSH_AUTH_SOCK"), result.identity, warn);
  }
  return result;
}

/** Who is asked about an unknown authority: the person at stdin's terminal; a script is not. */
export function confirmer(): ((question: string) => Promise<boolean>) | undefined {
  if (!Deno.stdin.isTerminal()) return undefined;
  return async (question) => {
    using terminal = openTerminal();
    return terminal ? await terminal.confirm(question) : false;
  };
}

/** What an earlier login at the same address trusted. */
export function knownAuthorities(proxy: ProxyAddress): string[] {
  const dir = profileDirectory();
  const profile = readProfile(dir, proxy.host);
  return profile?.web.port === proxy.webPort ? readTlsAuthorities(dir, proxy.host) : [];
}

const maxMinutes = 400 * 24 * 60;

function ttlOf(flags: Flags): number {
  const minutes = flags.int("ttl", 1, maxMinutes);
  return minutes === undefined ? defaultTtlMs : minutes * 60_000;
}

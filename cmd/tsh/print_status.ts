/** Who is logged in, as `tsh status` and `tsh login` print it. */
import { formatDuration } from "../../lib/base/duration.ts";
import { printable } from "../../lib/base/text.ts";
import type { Flags } from "../../lib/cli/flags.ts";
import { parseFormat, printData } from "../../lib/cli/output.ts";
import {
  type ClientIdentity,
  describeUser,
  endOf,
  isExpired,
  loginsOf,
  userOf,
} from "../../lib/client/identity.ts";
import { readIdentity } from "../../lib/client/keystore.ts";
import {
  type Profile,
  profileDirectory,
  readCurrentProfile,
  readProfiles,
} from "../../lib/client/profile.ts";
import { webUrl } from "../../lib/client/proxy_address.ts";

interface ProfileStatus {
  profile_url: string;
  username: string;
  cluster: string;
  roles: string[];
  traits: Record<string, string[]>;
  logins: string[];
  valid_until: string;
  expired: boolean;
  extensions: string[];
  ssh_proxy_addr: string;
}

/** Prints all profiles, the one in use first. Returns 1 unless that one is logged in. */
export function printStatus(flags: Flags, format: string): number {
  const dir = profileDirectory();
  const current = readCurrentProfile(dir);
  const active = current && statusOf(dir, current);
  const others = readProfiles(dir).filter((profile) => profile.name !== current?.name)
    .flatMap((profile) => statusOf(dir, profile) ?? []);
  const data = { active: active ?? null, profiles: others };
  printData(parseFormat(format), data, () => {
    if (!active && others.length === 0) return "Not logged in.";
    return [
      ...(active ? [render(active, "> ", flags.on("debug"))] : []),
      ...others.map((status) => render(status, "  ", flags.on("debug"))),
    ].join("\n\n");
  });
  return active && !active.expired ? 0 : 1;
}

function statusOf(dir: string, profile: Profile): ProfileStatus | undefined {
  let identity: ClientIdentity;
  try {
    identity = readIdentity(dir, profile);
  } catch {
    // Its user has logged out, or the files are damaged: nobody is logged in there.
    return undefined;
  }
  const { certificate } = identity;
  return {
    profile_url: webUrl(profile.web),
    username: userOf(certificate),
    cluster: profile.cluster,
    ...describeUser(certificate),
    logins: loginsOf(certificate),
    valid_until: new Date(endOf(certificate)).toISOString().replace(".000Z", "Z"),
    expired: isExpired(certificate),
    ssh_proxy_addr: `${profile.ssh.host}:${profile.ssh.port}`,
  };
}

function render(status: ProfileStatus, mark: string, withTraits: boolean): string {
  const rows: [string, string][] = [
    ["Profile URL:", status.profile_url],
    ["Logged in as:", status.username],
    ["Cluster:", status.cluster],
    ["Roles:", status.roles.join(", ")],
    ["Logins:", status.logins.join(", ") || "none"],
    ["Valid until:", `${goTime(status.valid_until)} ${remaining(status)}`],
    ["Extensions:", status.extensions.join(", ")],
    ...(withTraits
      ? Object.entries(status.traits).map(([name, values], i): [string, string] => [
        i === 0 ? "Traits:" : "",
        `${name}: ${values.join(", ")}`,
      ])
      : []),
  ];
  return rows.map(([title, value], i) =>
    `${i === 0 ? mark : "  "}${title.padEnd(13)} ${printable(value)}`
  ).join("\n");
}

/** "2019-10-05 02:01:36 +0000 UTC", as Go prints a time. */
function goTime(iso: string): string {
  return iso.replace("T", " ").replace("Z", " +0000 UTC");
}

function remaining(status: ProfileStatus): string {
  if (status.expired) return "[EXPIRED]";
  const left = Date.parse(status.valid_until) - Date.now();
  // Whole minutes, but the last one in seconds.
  const unit = left < 60_000 ? 1000 : 60_000;
  return `[valid for ${formatDuration(Math.round(left / unit) * unit)}]`;
}

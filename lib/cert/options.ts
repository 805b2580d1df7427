/** The names of options that our certificates carry, and what their values must look like. */
import { assertCidr } from "../base/net.ts";
import { BadParameter } from "../base/errors.ts";

export const criticalOption = {
  forceCommand: "force-command",
  sourceAddress: "source-address",
} as const;

export const userExtension = {
  permitPty: "permit-pty",
  permitPortForwarding: "permit-port-forwarding",
  permitAgentForwarding: "permit-agent-forwarding",
  permitX11Forwarding: "permit-X11-forwarding",
  roles: "teleport-roles",
  traits: "teleport-traits",
  routeToCluster: "teleport-route-to-cluster",
} as const;

export const hostExtension = {
  role: "x-teleport-role",
  authority: "x-teleport-authority",
} as const;

export const hostRoles = ["Auth", "Proxy", "Node", "Admin"] as const;
export type HostRole = (typeof hostRoles)[number];

const maxSourceAddresses = 64;

/**
 * The ranges of a `source-address` option, never empty.
 * @throws BadParameter
 */
export function parseSourceAddresses(value: string): string[] {
  const ranges = value.split(",");
  if (ranges.length > maxSourceAddresses) throw new BadParameter("Too many source addresses");
  ranges.forEach(assertCidr);
  return ranges;
}

/**
 * The value of `teleport-roles`: {"version":"v1","roles":["admin"]}.
 * @throws BadParameter
 */
export function parseRoles(value: string): string[] {
  const parsed = parseJsonObject(value, userExtension.roles);
  if (parsed["version"] !== "v1") {
    throw new BadParameter(`The ${userExtension.roles} extension is not of version v1`);
  }
  return requireStrings(parsed["roles"], userExtension.roles);
}

export function formatRoles(roles: readonly string[]): string {
  return JSON.stringify({ version: "v1", roles });
}

/**
 * The value of `teleport-traits`: {"logins":["root"]}. A trait that is null has no values.
 * @throws BadParameter
 */
export function parseTraits(value: string): Record<string, string[]> {
  return Object.fromEntries(
    Object.entries(parseJsonObject(value, userExtension.traits)).map((
      [trait, values],
    ) => [trait, requireStrings(values ?? [], userExtension.traits)]),
  );
}

export function formatTraits(traits: Readonly<Record<string, readonly string[]>>): string {
  return JSON.stringify(traits);
}

/**
 * The value of `x-teleport-role`: "Node", "Proxy,Node".
 * @throws BadParameter
 */
export function parseHostRoles(value: string): HostRole[] {
  return value.split(",").map((role) => {
    const known = hostRoles.find((each) => each === role);
    if (known === undefined) {
      throw new BadParameter(`${JSON.stringify(role.slice(0, 64))} is not a role of a host`);
    }
    return known;
  });
}

function parseJsonObject(text: string, what: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new BadParameter(`The ${what} extension is not JSON`, { cause });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new BadParameter(`The ${what} extension is not a JSON object`);
  }
  return value as Record<string, unknown>;
}

function requireStrings(value: unknown, what: string): string[] {
  if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value;
  throw new BadParameter(`The ${what} extension holds something else than lists of strings`);
}

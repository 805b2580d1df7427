/** Schemas of all kinds of resources, with their defaults. */

import { z } from "zod";
import {
  attempt,
  bool,
  duration,
  hasControls,
  integer,
  later,
  line,
  object,
  optional,
  time,
  withDefault,
} from "./fields.ts";
import { parseJoinRole } from "./join_roles.ts";
import { assertLabelKey, assertTokenName, MAX_LABEL_VALUE } from "./names.ts";
import { assertClusterName, assertName } from "../cert/names.ts";
import { roleSpec } from "./role_schema.ts";
import { type AnyResource, type Kind, type ResourceOf, SESSION_RECORDINGS } from "./types.ts";

const labelValue = z.string().max(MAX_LABEL_VALUE).refine((text) => !hasControls(text), {
  message: "must not have control characters or line breaks",
});

const labels = z.record(z.string(), labelValue).transform((read, context) => {
  for (const key of Object.keys(read)) attempt(context, () => assertLabelKey(key), [key]);
  return read;
});

function metadata(checkName: (name: string) => void) {
  return object({
    name: z.string().transform((name, context) => {
      attempt(context, () => checkName(name));
      return name;
    }),
    namespace: withDefault(
      z.literal("default", { error: "is not supported by this version: only 'default' is" }),
      () => "default",
    ),
    description: optional(line()),
    labels: withDefault(labels, () => ({})),
    expires: optional(time()),
    // Teleport's own numbering, in files that were written by it.
    id: z.unknown().optional().transform(() => undefined),
  });
}

const traits = z.record(line(255), z.array(line(4096)).nullable())
  .transform((read) =>
    Object.fromEntries(Object.entries(read).map(([name, values]) => [name, values ?? []]))
  );

const userStatus = object({
  is_locked: withDefault(bool(), () => false),
  locked_message: optional(line()),
  locked_time: optional(time()),
  lock_expires: optional(time()),
});

const userSpec = object({
  roles: z.array(line(255)).min(1),
  traits: withDefault(traits, () => ({})),
  status: withDefault(userStatus, () => ({ is_locked: false })),
  created_by: optional(object({
    time: optional(time()),
    user: optional(object({ name: line(255) })),
    connector: later("single sign-on"),
  })),
  expires: optional(time()),
  oidc_identities: later("single sign-on"),
  saml_identities: later("single sign-on"),
  github_identities: later("single sign-on"),
  local_auth: later("passwords and second factors in resources; use 'tctl users reset'"),
});

const serverSpec = object({
  addr: z.string().max(300),
  public_addr: optional(line(300)),
  hostname: withDefault(z.string().max(255), () => ""),
  cmd_labels: withDefault(
    z.record(
      z.string().transform((key, context) => {
        attempt(context, () => assertLabelKey(key));
        return key;
      }),
      object({
        period: duration(),
        command: z.array(z.string().max(4096)).min(1),
        result: withDefault(z.string().max(MAX_LABEL_VALUE), () => ""),
      }),
    ),
    () => ({}),
  ),
  use_tunnel: withDefault(bool(), () => false),
  version: withDefault(z.string().max(100), () => ""),
  rotation: later("the state of a rotation in servers"),
});

const tokenSpec = object({
  roles: z.array(
    z.string().transform((role, context) => {
      return attempt(context, () => parseJoinRole(role)) ?? z.NEVER;
    }),
  ).min(1),
});

const pem = (what: string) =>
  z.string().max(20_000).refine((text) => /^\s*-----BEGIN [A-Z0-9 ]+-----\r?\n/.test(text), {
    message: `must be ${what} in PEM`,
  });

const rotation = object({
  state: z.enum(["standby", "in_progress"]),
  phase: optional(z.enum(["standby", "init", "update_clients", "update_servers", "rollback"])),
  mode: optional(z.enum(["manual", "auto"])),
  current_id: optional(line(100)),
  started: optional(time()),
  grace_period: optional(duration({ never: true })),
  last_rotated: optional(time()),
  schedule: optional(object({
    update_clients: optional(time()),
    update_servers: optional(time()),
    standby: optional(time()),
  })),
});

const clusterName = z.string().transform((name, context) => {
  attempt(context, () => assertClusterName(name));
  return name;
});

const certAuthoritySpec = object({
  type: z.enum(["user", "host"]),
  cluster_name: clusterName,
  checking_keys: z.array(line(20_000)).min(1),
  signing_keys: optional(z.array(pem("a private key"))),
  tls_key_pairs: withDefault(
    z.array(object({ cert: pem("a certificate"), key: optional(pem("a private key")) })),
    () => [],
  ),
  rotation: optional(rotation),
  roles: later("role mapping of trusted clusters"),
  role_map: later("role mapping of trusted clusters"),
});

const clusterNameSpec = object({ cluster_name: clusterName, cluster_id: optional(line(100)) });

const clusterConfigSpec = object({
  cluster_id: optional(line(100)),
  client_idle_timeout: withDefault(duration({ never: true, minMs: 1000 }), () => "never"),
  disconnect_expired_cert: withDefault(bool(), () => false),
  keep_alive_interval: withDefault(duration({ minMs: 1000 }), () => "5m0s"),
  keep_alive_count_max: withDefault(integer(1, 1000), () => 3),
  session_control_timeout: withDefault(duration({ minMs: 1000 }), () => "2m0s"),
  session_recording: withDefault(z.enum(SESSION_RECORDINGS), () => "node" as const),
  proxy_checks_host_keys: withDefault(bool(), () => true),
  recording_on_full: withDefault(z.enum(["refuse", "continue"]), () => "refuse" as const),
});

const authPreferenceSpec = object({
  type: withDefault(z.literal("local"), () => "local" as const),
  second_factor: withDefault(z.enum(["off", "otp"]), () => "otp" as const),
});

function resource<K extends Kind, S extends z.ZodType>(
  kind: K,
  version: string,
  spec: S,
  checkName: (name: string) => void = assertName,
) {
  const schema = object({
    kind: z.literal(kind),
    // Teleport writes "user" or "host" here; it must not contradict `spec.type`.
    sub_kind: optional(z.string()),
    version: z.literal(version),
    metadata: metadata(checkName),
    spec,
  }).superRefine((value, context) => {
    const { sub_kind, spec } = value as { sub_kind?: string; spec: { type?: string } };
    const type = kind === "cert_authority" ? spec.type : "";
    if (sub_kind !== undefined && sub_kind !== type) {
      context.addIssue({
        code: "custom",
        path: ["sub_kind"],
        message: `must be ${JSON.stringify(type)}`,
      });
    }
  }).transform(({ sub_kind: _, ...rest }) => rest);
  return schema as unknown as z.ZodType<ResourceOf<K>>;
}

export const schemas: { [K in Kind]: z.ZodType<ResourceOf<K>> } = {
  user: resource("user", "v2", userSpec satisfies Fits<"user">),
  role: resource("role", "v3", roleSpec satisfies Fits<"role">),
  node: resource("node", "v2", serverSpec satisfies Fits<"node">),
  proxy: resource("proxy", "v2", serverSpec satisfies Fits<"proxy">),
  auth_server: resource("auth_server", "v2", serverSpec satisfies Fits<"auth_server">),
  token: resource("token", "v2", tokenSpec satisfies Fits<"token">, assertTokenName),
  cert_authority: resource(
    "cert_authority",
    "v2",
    certAuthoritySpec satisfies Fits<"cert_authority">,
    assertClusterName,
  ),
  cluster_name: resource("cluster_name", "v2", clusterNameSpec satisfies Fits<"cluster_name">),
  cluster_config: resource(
    "cluster_config",
    "v3",
    clusterConfigSpec satisfies Fits<"cluster_config">,
  ),
  cluster_auth_preference: resource(
    "cluster_auth_preference",
    "v2",
    authPreferenceSpec satisfies Fits<"cluster_auth_preference">,
  ),
};

/** The version that each kind is written in. */
export const versions: Record<Kind, AnyResource["version"]> = {
  user: "v2",
  role: "v3",
  node: "v2",
  proxy: "v2",
  auth_server: "v2",
  token: "v2",
  cert_authority: "v2",
  cluster_name: "v2",
  cluster_config: "v3",
  cluster_auth_preference: "v2",
};

/** A schema whose output is the kind's spec, but for keys of unsupported things, always undefined. */
type Fits<K extends Kind> = z.ZodType<Loose<ResourceOf<K>["spec"]>>;

type Loose<T> = T extends readonly (infer Item)[] ? Loose<Item>[]
  : T extends object ? {
      [P in keyof T]: Record<never, never> extends Pick<T, P> ? Loose<T[P]> | undefined
        : Loose<T[P]>;
    }
  : T;

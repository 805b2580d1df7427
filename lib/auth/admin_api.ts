/** What administrators call. */
import { callerName } from "../api/server.ts";
import type { ApiService, CallContext } from "../api/service.ts";
import { BadParameter, NotFound } from "../base/errors.ts";
import { VERSION } from "../base/version.ts";
import { parseResource } from "../resources/codec.ts";
import { parseJoinRole } from "../resources/join_roles.ts";
import { withoutSecrets } from "../resources/labels.ts";
import type { AnyResource, Token } from "../resources/types.ts";
import type { AuthParts } from "./parts.ts";

type AdminMethods =
  | "users.create"
  | "users.reset"
  | "users.update"
  | "users.list"
  | "users.delete"
  | "tokens.create"
  | "tokens.list"
  | "tokens.delete"
  | "sign.user"
  | "sign.host"
  | "resources.list"
  | "resources.create"
  | "resources.delete"
  | "status";

export function adminApi(parts: AuthParts): Pick<ApiService, AdminMethods> {
  const { users, roles, tokens, signer, store, authorities, settings, joins, clock } = parts;
  const by = ({ caller }: CallContext) => callerName(caller);

  return {
    "users.create": ({ name, logins, roles, ttl_ms }, context) =>
      users.create(by(context), {
        name,
        ...(logins && { logins }),
        ...(roles && { roles }),
        ...(ttl_ms === undefined ? {} : { ttlMs: ttl_ms }),
      }),
    "users.reset": ({ name, ttl_ms }, context) => users.reset(by(context), name, ttl_ms),
    "users.update": async ({ name, roles, logins }, context) => ({
      user: await users.update(by(context), name, {
        ...(roles && { roles }),
        ...(logins && { logins }),
      }),
    }),
    "users.list": async () => ({ users: await users.list() }),
    "users.delete": async ({ name }, context) => {
      await users.delete(by(context), name);
      return {};
    },

    "tokens.create": ({ roles, ttl_ms, value }) =>
      tokens.create([...new Set(roles.map(parseJoinRole))], ttl_ms, value),
    "tokens.list": async () => ({ tokens: await tokens.list() }),
    "tokens.delete": async ({ token }) => {
      await tokens.delete(token);
      return {};
    },

    "sign.user": async ({ user: name, ttl_ms, public_key, tls_public_key }) => {
      const user = await store.get("user", name);
      return await signer.user({
        user,
        roles: await users.rolesOf(user),
        publicKey: public_key,
        tlsPublicKey: tls_public_key,
        ttlMs: ttl_ms,
        capped: false,
      });
    },
    "sign.host": ({ principals, public_key, ttl_ms }) => ({
      cert: signer.foreignHost(principals, public_key, ttl_ms),
    }),

    "resources.list": async ({ kind, name, with_secrets }) => {
      const all = await listAll(kind, with_secrets);
      const resources = name === undefined ? all : all.filter((each) => isCalled(each, name));
      if (name !== undefined && resources.length === 0) {
        throw new NotFound(`${kind} ${JSON.stringify(name)} is not found`);
      }
      return { resources };
    },
    "resources.create": async ({ resource: given, force }, context) => {
      const resource = parseResource(given);
      const { kind, metadata: { name } } = resource;
      switch (resource.kind) {
        case "user":
          return { kind, name, ...await users.put(by(context), resource, force) };
        case "role":
          return { kind, name, ...await roles.put(by(context), resource, force) };
        case "token": {
          const { expires } = resource.metadata;
          const ttlMs = expires === undefined ? undefined : Date.parse(expires) - clock.now();
          if (ttlMs !== undefined && ttlMs <= 0) {
            throw new BadParameter("the token has expired already: see metadata.expires");
          }
          await tokens.create(resource.spec.roles, ttlMs, name);
          return { kind, name, created: true };
        }
        default:
          throw new BadParameter(`a ${kind} is not made by hand: create users, roles and tokens`);
      }
    },
    "resources.delete": async ({ kind, name }, context) => {
      switch (kind) {
        case "user":
          await users.delete(by(context), name);
          break;
        case "role":
          await roles.delete(by(context), name);
          break;
        case "token":
          await tokens.delete(name);
          break;
        case "node":
        case "proxy":
          await store.delete(kind, name);
          await joins.release(name);
          break;
        default:
          throw new BadParameter(`a ${kind} cannot be removed`);
      }
      return { kind, name };
    },

    status: () => ({
      cluster_name: settings.clusterName,
      version: VERSION,
      ca_pins: authorities.caPins(),
      user_ca: authorities.status("user"),
      host_ca: authorities.status("host"),
    }),
  };

  async function listAll(kind: string, withSecrets: boolean): Promise<AnyResource[]> {
    switch (kind) {
      case "user":
        return await users.list();
      case "token":
        return (await tokens.list()).map(tokenResource);
      case "cert_authority": {
        const all = await store.list("cert_authority");
        return withSecrets ? all : all.map(withoutSecrets);
      }
      case "role":
      case "node":
      case "proxy":
      case "cluster_config":
        return await store.list(kind);
      default:
        return [];
    }
  }

  function tokenResource(
    { id, roles, expires }: { id: string; roles: string[]; expires?: string },
  ): Token {
    return {
      kind: "token",
      version: "v2",
      metadata: {
        name: id,
        namespace: "default",
        labels: {},
        ...(expires === undefined ? {} : { expires }),
      },
      spec: { roles: roles.map(parseJoinRole) },
    };
  }
}

/** An authority is also called by its type: `tctl get cert_authority/user`. */
function isCalled(resource: AnyResource, name: string): boolean {
  if (resource.kind === "cert_authority") {
    const { type, cluster_name } = resource.spec;
    return [type, cluster_name, `${type}/${cluster_name}`].includes(name);
  }
  return resource.metadata.name === name;
}

/** Roles: the built-in one and those that administrators make. */
import { checkRole } from "../access/mod.ts";
import type { AuditEmitter } from "../audit/events.ts";
import { EventCode } from "../audit/events.ts";
import type { Clock } from "../base/clock.ts";
import { AlreadyExists, BadParameter } from "../base/errors.ts";
import { assertName } from "../cert/names.ts";
import { formatResources } from "../resources/codec.ts";
import { ADMIN_ROLE, adminRole } from "../resources/roles.ts";
import type { Role } from "../resources/types.ts";
import { resourceFields } from "./resource_fields.ts";
import type { ResourceStore } from "./store.ts";

export class Roles {
  constructor(
    private readonly store: ResourceStore,
    private readonly audit: AuditEmitter,
    private readonly clock: Clock,
  ) {}

  /** At the first start, and after an upgrade. What administrators made of it since stays. */
  async ensureBuiltIn(): Promise<void> {
    const stored = await this.store.find("role", ADMIN_ROLE);
    if (stored === undefined) {
      await this.store.create(adminRole()).catch((e: unknown) => {
        if (!(e instanceof AlreadyExists)) throw e;
      });
    } else if (formatResources([stored], "json") === formatResources([firstAdminRole()], "json")) {
      await this.store.put(adminRole());
    }
  }

  /** @throws AlreadyExists unless `force`, BadParameter for a pattern that cannot work */
  async put(by: string, role: Role, force: boolean): Promise<{ created: boolean }> {
    assertName(role.metadata.name, "role name");
    checkRole(role);
    const existed = await this.store.find("role", role.metadata.name) !== undefined;
    if (existed && force) await this.store.put(role);
    else await this.store.create(role);
    this.#emit("role.created", by, role);
    return { created: !existed };
  }

  /** @throws NotFound, BadParameter while a user has it: without its denials the user had more */
  async delete(by: string, name: string): Promise<void> {
    if (name === ADMIN_ROLE) throw new BadParameter(`the role "${ADMIN_ROLE}" cannot be deleted`);
    const role = await this.store.get("role", name);
    const users = (await this.store.list("user"))
      .filter(({ spec }) => spec.roles.includes(name)).map(({ metadata }) => metadata.name);
    if (users.length > 0) {
      const shown = users.slice(0, 5).join(", ") + (users.length > 5 ? ", …" : "");
      throw new BadParameter(
        `role ${JSON.stringify(name)} is in use by: ${shown}; give them other roles first with: ` +
          "tctl users update <user> --set-roles=…",
      );
    }
    await this.store.delete("role", name);
    this.#emit("role.deleted", by, role);
  }

  #emit(event: "role.created" | "role.deleted", by: string, { metadata }: Role): void {
    const code = event === "role.created" ? EventCode.RoleCreated : EventCode.RoleDeleted;
    const { name, expires } = metadata;
    const fields = resourceFields(name, by, expires, this.clock.now());
    this.audit.emit({ event, code, user: by, ...fields });
  }
}

/** As the first version had it, which knew no joining of sessions. */
function firstAdminRole(): Role {
  const role = adminRole();
  delete role.spec.allow.join_sessions;
  return role;
}

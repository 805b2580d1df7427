import assert from "node:assert/strict";
import { AuditLog } from "../audit/audit_log.ts";
import { MemoryLog } from "../audit/memory_log.ts";
import { FakeClock } from "../base/clock.ts";
import { ADMIN_ROLE, adminRole } from "../resources/roles.ts";
import type { Role } from "../resources/types.ts";
import { MemoryBackend } from "../storage/memory.ts";
import { Roles } from "./roles.ts";
import { ResourceStore } from "./store.ts";

/** What the built-in role is after a start of auth on a backend with this one. */
async function afterStart(before: Role | undefined): Promise<Role> {
  const backend = new MemoryBackend();
  const audit = new AuditLog({ sink: new MemoryLog() });
  try {
    const store = new ResourceStore(backend);
    if (before) await store.create(before);
    await new Roles(store, audit, new FakeClock()).ensureBuiltIn();
    return await store.get("role", ADMIN_ROLE);
  } finally {
    await audit.close();
    await backend.close();
  }
}

Deno.test("the built-in role is made at the first start, and lets join sessions after an upgrade", async () => {
  assert.deepEqual(await afterStart(undefined), adminRole());
  const old = adminRole();
  delete old.spec.allow.join_sessions;
  assert.deepEqual(await afterStart(old), adminRole());
});

Deno.test("a built-in role that an administrator has changed stays as it is", async () => {
  const changed = adminRole();
  delete changed.spec.allow.join_sessions;
  changed.spec.allow.logins = ["root"];
  assert.deepEqual(await afterStart(changed), changed);
});

import assert from "node:assert/strict";
import { isUuid } from "../base/ids.ts";
import { sessionEndUid } from "./session_end.ts";

const SID = "11111111-2222-4333-8444-555555555555";

Deno.test("sessionEndUid() is one UUID of version 5 a session, the same everywhere and for ever", () => {
  const uid = sessionEndUid(SID);
  assert.ok(isUuid(uid));
  assert.equal(uid, "cbda31fa-1907-53fc-83bd-12c0e95ddc16");
  assert.equal(uid, sessionEndUid(SID.toUpperCase()));
  assert.notEqual(uid, sessionEndUid(crypto.randomUUID()));
});

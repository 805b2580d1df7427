import assert from "node:assert/strict";
import { fromBase64, toBase64, toHex } from "../base/bytes.ts";
import { AccessDenied, BadParameter, CompareFailed, NotFound } from "../base/errors.ts";
import { headerLine, markerLine } from "../recording/cast.ts";
import type { RecordingMeta } from "../recording/meta.ts";
import { member, testMeta } from "../recording/test_recordings.ts";
import {
  ADMIN,
  CLUSTER,
  NODE_ID,
  nodeCaller,
  type TestAuth,
  testRole,
  userCaller,
  withAuth,
} from "./testing.ts";

function sid(n: number): string {
  return `${String(n).padStart(8, "0")}-0000-4000-8000-000000000000`;
}

/** Brings a recording as a node does. */
async function bring(
  auth: TestAuth,
  n: number,
  over: Partial<RecordingMeta> = {},
  finish = true,
): Promise<Uint8Array> {
  const meta = testMeta({
    sid: sid(n),
    server_id: NODE_ID,
    cluster: CLUSTER,
    started: `2025-01-0${n}T12:00:00.000Z`,
    ...over,
  });
  const data = member(headerLine(meta) + markerLine(2.5, "end"), { notes: true });
  const node = nodeCaller();
  const base64 = toBase64(data);
  await auth.call(node, "recordings.append", { sid: meta.sid, offset: 0, data: base64 });
  if (finish) {
    const sha256 = toHex(new Uint8Array(await crypto.subtle.digest("SHA-256", data)));
    const answer = await auth.call(node, "recordings.finish", {
      sid: meta.sid,
      size: data.length,
      sha256,
    });
    assert.equal(answer.stored, true);
  }
  return data;
}

Deno.test("recordings.list gives the newest first, page by page, and filters", () =>
  withAuth(async (auth) => {
    await bring(auth, 1);
    await bring(auth, 2, { user: "ann" });
    await bring(auth, 3, { server_hostname: "web-1" });
    await bring(auth, 4, {}, false);
    const list = async (query: object) => {
      const { recordings, next } = await auth.call(ADMIN, "recordings.list", query);
      return { sids: recordings.map((r) => Number(r.sid.slice(0, 8))), next };
    };
    assert.deepEqual((await list({})).sids, [4, 3, 2, 1]);
    assert.deepEqual((await list({ user: "ann" })).sids, [2]);
    assert.deepEqual((await list({ node: "web-1" })).sids, [3]);
    assert.deepEqual((await list({ node: NODE_ID })).sids, [4, 3, 2, 1]);
    assert.deepEqual((await list({ sid_prefix: "00000002" })).sids, [2]);
    assert.deepEqual(
      (await list({ from: "2025-01-02T12:00:00Z", to: "2025-01-03T13:00:00+01:00" })).sids,
      [3, 2],
    );
    const first = await list({ limit: 3 });
    assert.deepEqual(first.sids, [4, 3, 2]);
    assert.deepEqual(await list({ limit: 3, after: first.next }), { sids: [1], next: undefined });
    assert.deepEqual((await list({ limit: 4 })).next, undefined);
    await assert.rejects(list({ after: "nonsense" }), BadParameter);
    const [newest] = (await auth.call(ADMIN, "recordings.list", { limit: 1 })).recordings;
    assert.equal(newest?.finished, false);
    const [done] = (await auth.call(ADMIN, "recordings.list", { user: "ann" })).recordings;
    assert.equal(done?.duration_ms, 2500);
    assert.ok(!("host_id" in done!));
  }));

Deno.test("recordings.read gives the bytes in pieces, of a running session as far as they are", () =>
  withAuth(async (auth) => {
    const done = await bring(auth, 1);
    const running = await bring(auth, 2, {}, false);
    for (const [n, whole, finished] of [[1, done, true], [2, running, false]] as const) {
      const parts: number[] = [];
      for (let offset = 0;;) {
        const answer = await auth.call(ADMIN, "recordings.read", {
          sid: sid(n),
          offset,
          length: 100,
        });
        assert.equal(answer.size, whole.length);
        assert.equal(answer.finished, finished);
        const piece = fromBase64(answer.data);
        if (piece.length === 0) break;
        parts.push(...piece);
        offset += piece.length;
      }
      assert.deepEqual(Uint8Array.from(parts), Uint8Array.from(whole));
    }
    const beyond = { sid: sid(1), offset: 1e9, length: 1 };
    assert.equal((await auth.call(ADMIN, "recordings.read", beyond)).data, "");
    await assert.rejects(
      auth.call(ADMIN, "recordings.read", { sid: sid(9), offset: 0, length: 1 }),
      NotFound,
    );
  }));

Deno.test("attack 59: a session id that is no UUID reaches no file", () =>
  withAuth(async (auth) => {
    for (
      const bad of ["", "../../etc/passwd", `${sid(1)}/..`, sid(1).toUpperCase() + "A", "a\0b", "*"]
    ) {
      for (const method of ["recordings.read", "recordings.delete"] as const) {
        await assert.rejects(
          auth.call(ADMIN, method, { sid: bad, offset: 0, length: 1 } as never),
          (e: Error) => e.name === "ZodError",
          bad,
        );
      }
    }
  }));

Deno.test("attack 59: recordings are for users whose roles have the rule, and deny wins", () =>
  withAuth(async (auth) => {
    await bring(auth, 1);
    const roles = {
      lister: testRole("lister", ({ spec }) => {
        spec.allow.rules = [{ resources: ["session"], verbs: ["list"] }];
      }),
      nothing: testRole("nothing", ({ spec }) => spec.allow.rules = []),
      denier: testRole("denier", ({ spec }) => {
        spec.deny.rules = [{ resources: ["session"], verbs: ["*"] }];
      }),
    };
    for (const resource of Object.values(roles)) {
      await auth.call(ADMIN, "resources.create", { resource });
    }
    const tryAs = async (name: string, given: string[]) => {
      const person = await auth.enrol(name, given);
      const caller = userCaller(auth, (await person.login()).cert);
      const may = async (call: Promise<unknown>) =>
        await call.then(() => true, (e) => {
          assert.ok(e instanceof AccessDenied, String(e));
          assert.match(e.message, /may not (list|read) sessions: /);
          return false;
        });
      return [
        await may(auth.call(caller, "recordings.list", {})),
        await may(auth.call(caller, "recordings.read", { sid: sid(1), offset: 0, length: 1 })),
        // That there is none is told to those only who may read.
        await may(
          auth.call(caller, "recordings.read", { sid: sid(2), offset: 0, length: 1 })
            .catch((e) => {
              if (!(e instanceof NotFound)) throw e;
            }),
        ),
      ];
    };
    assert.deepEqual(await tryAs("all", ["admin"]), [true, true, true]);
    assert.deepEqual(await tryAs("some", ["lister"]), [true, false, false]);
    assert.deepEqual(await tryAs("none", ["nothing"]), [false, false, false]);
    assert.deepEqual(await tryAs("denied", ["admin", "denier"]), [false, false, false]);
  }));

Deno.test("recordings.delete removes a finished recording for good, and no other", () =>
  withAuth(async (auth) => {
    await bring(auth, 1);
    await bring(auth, 2, {}, false);
    const { store } = auth.service.parts.recordings;
    assert.deepEqual(await auth.call(ADMIN, "recordings.delete", { sid: sid(1) }), {});
    await assert.rejects(Deno.stat(store.path(sid(1))), Deno.errors.NotFound);
    await assert.rejects(auth.call(ADMIN, "recordings.delete", { sid: sid(1) }), NotFound);
    await assert.rejects(auth.call(ADMIN, "recordings.delete", { sid: sid(2) }), (e) => {
      assert.ok(e instanceof CompareFailed);
      assert.match(e.message, /not finished/);
      return true;
    });
    const { recordings } = await auth.call(ADMIN, "recordings.list", {});
    assert.deepEqual(recordings.map((info) => info.sid), [sid(2)]);
  }));

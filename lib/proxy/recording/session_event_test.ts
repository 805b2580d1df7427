import assert from "node:assert/strict";
import { utf8Encode } from "../../base/bytes.ts";
import { parseSessionEvent } from "./session_event.ts";

const SID = "11111111-1111-4111-8111-111111111111";
const parse = (event: unknown) => parseSessionEvent(utf8Encode(JSON.stringify(event)), SID);

Deno.test("parseSessionEvent() reads sizes, and who comes and goes", () => {
  assert.deepEqual(parse({ event: "resize", sid: SID, user: "eve", size: "120:50" }), {
    event: "resize",
    cols: 120,
    rows: 50,
  });
  assert.deepEqual(parse({ event: "session.join", sid: SID, user: "eve", mode: "observer" }), {
    event: "session.join",
    user: "eve",
    mode: "observer",
  });
  assert.deepEqual(parse({ event: "session.leave", sid: SID, user: "eve" }), {
    event: "session.leave",
    user: "eve",
  });
});

Deno.test("parseSessionEvent() passes over what is another session's, unknown or malformed", () => {
  for (
    const event of [
      ...[null, 1, "x", [], {}, { event: "resize", size: "1:1" }],
      { event: "resize", sid: "another", size: "1:1" },
      ...["0:1", "1:0", "1", "1:1:1", "99999:1", "1:1\x1b[2J", { cols: 1 }, undefined]
        .map((size) => ({ event: "resize", sid: SID, size })),
      { event: "session.join", sid: SID, user: "eve" },
      { event: "session.join", sid: SID, user: "eve", mode: "god" },
      { event: "session.join", sid: SID, user: "e\x1bve", mode: "peer" },
      { event: "session.leave", sid: SID, user: 1 },
      { event: "session.end", sid: SID, user: "eve" },
      { event: "session.leave", sid: SID, user: "eve", more: "x".repeat(5000) },
    ]
  ) {
    assert.equal(parse(event), undefined, JSON.stringify(event));
  }
  assert.equal(parseSessionEvent(new Uint8Array([0xff, 0]), SID), undefined);
});

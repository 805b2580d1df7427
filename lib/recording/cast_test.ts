import assert from "node:assert/strict";
import fc from "fast-check";
import { BadParameter } from "../base/errors.ts";
import { headerLine, markerLine, parseEvent, parseHeader, resizeLine } from "./cast.ts";
import { testMeta } from "./test_recordings.ts";

Deno.test("the header is that of asciicast v2, with the session's description", () => {
  const line = headerLine(testMeta());
  const value = JSON.parse(line);
  assert.deepEqual({ ...value, teleport: undefined }, {
    version: 2,
    width: 80,
    height: 24,
    timestamp: 1_767_323_045,
    env: { TERM: "xterm-256color" },
    title: "root@db-1",
    teleport: undefined,
  });
  assert.deepEqual(parseHeader(line).teleport, testMeta());
});

Deno.test("resizes and markers are read back", () => {
  assert.deepEqual(parseEvent(resizeLine(1.5, { cols: 100, rows: 30 }).trimEnd()), {
    type: "resize",
    time: 1.5,
    cols: 100,
    rows: 30,
  });
  const label = 'join "alice"\n\u001b[31m (peer)';
  assert.deepEqual(parseEvent(markerLine(2.000_000_4, label).trimEnd()), {
    type: "marker",
    time: 2,
    label,
  });
});

Deno.test("events of other kinds are passed over, what is no event is refused", () => {
  assert.equal(parseEvent('[1,"i","input"]'), undefined);
  assert.equal(parseEvent('[1,"x-new",{"a":1}]'), undefined);
  const refused = [
    "",
    "{}",
    "[]",
    "null",
    '[1,"o"]',
    '["1","o","x"]',
    '[-1,"o","x"]',
    '[1e999,"o","x"]',
    '[1,2,"x"]',
    '[1,"o",2]',
    '[1,"r","0x0"]',
    '[1,"r","99999x1"]',
    '[1,"r","80x24x"]',
    '[1,"x-bytes","%%%"]',
    '[1,"o","x"',
  ];
  for (const line of refused) assert.throws(() => parseEvent(line), BadParameter, line);
});

Deno.test("headers from elsewhere are read within bounds or refused", () => {
  assert.deepEqual(parseHeader('{"version":2,"width":80,"height":24}'), { width: 80, height: 24 });
  const meta = (over: object) =>
    JSON.stringify({ version: 2, width: 80, height: 24, teleport: { ...testMeta(), ...over } });
  const refused = [
    "",
    "[]",
    '{"version":1,"width":80,"height":24}',
    '{"version":2,"width":0,"height":24}',
    '{"version":2,"width":80,"height":1e9}',
    meta({ sid: "../../etc/passwd" }),
    meta({ sid: undefined }),
    meta({ user: 5 }),
    meta({ user: "x".repeat(513) }),
    meta({ started: "yesterday" }),
    meta({ cols: 0 }),
    meta({ recorded_by: "me" }),
  ];
  for (const line of refused) assert.throws(() => parseHeader(line), BadParameter, line);
});

Deno.test("any text is read as an event or refused with BadParameter", () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (line) => {
      for (const parse of [parseEvent, parseHeader]) {
        try {
          parse(line);
        } catch (e) {
          assert.ok(e instanceof BadParameter, String(e));
        }
      }
    }),
    { numRuns: 500 },
  );
});

import assert from "node:assert/strict";
import { utf8Decode, utf8Encode } from "../../base/bytes.ts";
import { Recording } from "../../recording/play/recording.ts";
import { bytesSource } from "../../recording/play/source.ts";
import { type PlayFormat, writeAs } from "./formats.ts";

const META = {
  sid: "11111111-1111-4111-8111-111111111111",
  user: "joe",
  login: "root",
  server_id: "22222222-2222-4222-8222-222222222222",
  server_hostname: "db-1",
  server_addr: "192.0.2.7:3022",
  addr_remote: "198.51.100.4:50000",
  cluster: "main",
  started: "2025-01-06T12:00:00.000Z",
  cols: 80,
  rows: 24,
  term: "xterm",
  recorded_by: "node",
};

const RECORDING = [
  { version: 2, width: 80, height: 24, timestamp: 1736164800, title: "root@db-1", teleport: META },
  [0, "m", "start"],
  [0.5, "o", "\x1b[31mone\x1b[0m\r\n\u009bc"],
  [1.25, "r", "100x30"],
  [2, "x-bytes", "/2E="],
].map((line) => JSON.stringify(line) + "\n").join("");

async function written(format: Exclude<PlayFormat, "pty">): Promise<string> {
  let text = "";
  const recording = await Recording.open(bytesSource(utf8Encode(RECORDING)));
  await writeAs(format, recording, (bytes) => void (text += utf8Decode(bytes)));
  return text;
}

Deno.test("writeAs(text) writes the lines of the screen", async () => {
  assert.equal(await written("text"), "one\n\ufffda\n");
});

Deno.test("writeAs(json) writes one event a line, with the names of the audit log", async () => {
  const text = await written("json");
  assert.ok(!text.includes("\u009b"));
  const { term: _, cluster: __, recorded_by: ___, cols: ____, rows: _____, ...meta } = META;
  const { addr_remote, started, ...fields } = meta;
  assert.deepEqual(text.trimEnd().split("\n").map((line) => JSON.parse(line)), [
    {
      event: "session.start",
      time: started,
      ei: 0,
      ms: 0,
      ...fields,
      "addr.remote": addr_remote,
      size: "80:24",
    },
    { event: "marker", time: started, ei: 1, ms: 0, label: "start" },
    {
      event: "print",
      time: "2025-01-06T12:00:00.500Z",
      ei: 2,
      ms: 500,
      ci: 0,
      bytes: 17,
      offset: 0,
      data: "\x1b[31mone\x1b[0m\r\n\u009bc",
    },
    { event: "resize", time: "2025-01-06T12:00:01.250Z", ei: 3, ms: 1250, size: "100:30" },
    {
      event: "print",
      time: "2025-01-06T12:00:02.000Z",
      ei: 4,
      ms: 2000,
      ci: 1,
      bytes: 2,
      offset: 17,
      data_base64: "/2E=",
    },
  ]);
});

Deno.test("writeAs(cast) writes an asciicast v2 of standard events alone", async () => {
  const [header, ...events] = (await written("cast")).trimEnd().split("\n").map((line) =>
    JSON.parse(line)
  );
  assert.deepEqual(header, {
    version: 2,
    width: 80,
    height: 24,
    timestamp: 1736164800,
    title: "root@db-1",
    env: { TERM: "xterm" },
    teleport: META,
  });
  assert.deepEqual(events, [
    [0, "m", "start"],
    [0.5, "o", "\x1b[31mone\x1b[0m\r\n\u009bc"],
    [1.25, "r", "100x30"],
    [2, "o", "\ufffda"],
  ]);
});

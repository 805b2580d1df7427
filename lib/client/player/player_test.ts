import assert from "node:assert/strict";
import { utf8Decode, utf8Encode } from "../../base/bytes.ts";
import { ConnectionProblem } from "../../base/errors.ts";
import { Recording } from "../../recording/play/recording.ts";
import { type ByteSource, bytesSource } from "../../recording/play/source.ts";
import type { Command } from "./keys.ts";
import { Player, timeText } from "./player.ts";
import { PlayerScreen } from "./screen.ts";
import { BLANK_SCREEN } from "./vt_filter.ts";

const HEADER = '{"version":2,"width":80,"height":24}\n';

/** A terminal that remembers what was written, and calls when something was. */
class FakeTerminal {
  written = "";
  cols = 80;
  rows = 24;
  onWrite: (() => void) | undefined;

  size() {
    return { cols: this.cols, rows: this.rows };
  }

  write(bytes: Uint8Array): Promise<void> {
    this.written += utf8Decode(bytes);
    this.onWrite?.();
    return Promise.resolve();
  }

  /** Recorded text since the screen was last cleared, without the player's own stamps. */
  get shown(): string {
    const since = this.written.slice(this.written.lastIndexOf(BLANK_SCREEN) + BLANK_SCREEN.length);
    // deno-lint-ignore no-control-regex
    return since.replace(/\x1b7.*?\x1b8/g, "");
  }

  /** What the last stamp says. */
  get stamp(): string {
    // deno-lint-ignore no-control-regex
    return this.written.match(/\x1b\[0;7m.*?\x1b8/g)?.at(-1)?.slice(6, -2).trim() ?? "";
  }
}

interface Scene {
  terminal: FakeTerminal;
  player: Player;
  ended: Promise<"ended" | "quit">;
  press(...commands: Command[]): void;
  /** Waits until the screen is as it should be. */
  until(what: string, probe: () => boolean): Promise<void>;
}

async function play(
  lines: string,
  options: { speed?: number; longestPause?: number; source?: ByteSource; now?: () => number } = {},
): Promise<Scene> {
  const terminal = new FakeTerminal();
  const { source = bytesSource(utf8Encode(HEADER + lines)), ...pace } = options;
  const recording = await Recording.open(source);
  const screen = new PlayerScreen(terminal, { cols: 80, rows: 24 });
  const player = new Player({ recording, screen, speed: 1, ...pace });
  const ended = player.run();
  ended.catch(() => {});
  return {
    terminal,
    player,
    ended,
    press: (...commands) => commands.forEach((command) => player.press(command)),
    async until(what, probe) {
      const late = Date.now() + 10_000;
      while (!probe()) {
        assert.ok(Date.now() < late, `${what}: ${JSON.stringify(terminal.written.slice(-500))}`);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    },
  };
}

/** An output each second, named by it. */
function seconds(count: number): string {
  return Array.from({ length: count }, (_, i) => `[${i},"o","${i} "]\n`).join("");
}

/** Nothing comes by itself within a test. */
const STILL = { longestPause: 3_600_000, speed: 0.25 };

Deno.test("Player shows everything in order and ends", async () => {
  const { terminal, ended } = await play(seconds(30), { longestPause: 1 });
  assert.equal(await ended, "ended");
  assert.equal(terminal.shown, Array.from({ length: 30 }, (_, i) => `${i} `).join(""));
  assert.equal(terminal.stamp, "00:29");
});

Deno.test("Player pauses, steps and goes on", async () => {
  const { terminal, press, until, ended } = await play(seconds(5), STILL);
  await until("the first output", () => terminal.shown === "0 ");
  press("pause");
  await until("the pause", () => terminal.stamp === "paused 0.25x 00:00");
  press("step", "step");
  await until("two steps", () => terminal.shown === "0 1 2 ");
  assert.equal(terminal.stamp, "paused 0.25x 00:02");
  press("step-back");
  await until("a step back", () => terminal.shown === "0 1 ");
  press("step-back", "step-back", "step-back", "step");
  await until("back to the start", () => terminal.shown === "0 ");
  press("quit");
  assert.equal(await ended, "quit");
});

Deno.test("Player skips ahead and back, several times at once too", async () => {
  const { terminal, press, until, ended } = await play(seconds(60), STILL);
  await until("the first output", () => terminal.shown === "0 ");
  press("forward");
  await until("10 s", () => terminal.shown.endsWith("9 10 "));
  press("forward", "forward", "forward");
  await until("40 s", () => terminal.shown.endsWith("39 40 "));
  press("back");
  await until("30 s", () => terminal.shown.endsWith("29 30 "));
  assert.ok(terminal.shown.startsWith("0 1 "), "drawn again from the start");
  press("back", "back", "back", "back");
  await until("the start", () => terminal.shown === "0 " && terminal.stamp.endsWith("00:00"));
  press("forward", "step", "step", "step-back");
  await until("a step from 10 s", () => terminal.shown.endsWith("10 11 "));
  press("pause", ...Array<Command>(7).fill("forward"));
  assert.equal(await ended, "ended");
});

Deno.test("Player keeps its place within a pause of the recording", async () => {
  let now = 0;
  const options = { longestPause: 0, now: () => now };
  const { terminal, press, until, ended } = await play(
    '[0,"o","a"]\n[100,"o","b"]\n[200,"o","c"]\n',
    options,
  );
  await until("the first output", () => terminal.shown === "a");
  now = 50_000;
  press("pause");
  await until("half of the pause", () => terminal.stamp === "paused 00:50");
  now = 500_000;
  press("back");
  await until("10 s back", () => terminal.stamp === "paused 00:40");
  press("pause", "faster", "pause");
  await until("2x", () => terminal.stamp === "paused 2x 00:40");
  assert.equal(terminal.shown, "a");
  press("pause");
  await until("it goes on", () => terminal.stamp === "2x 00:40");
  now += 29_999;
  assert.equal(terminal.shown, "a");
  now += 1;
  await until("the second output", () => terminal.shown === "ab");
  press("quit");
  assert.equal(await ended, "quit");
});

Deno.test("Player changes its speed by keys", async () => {
  const { terminal, press, until, ended } = await play(seconds(5), { ...STILL, speed: 1 });
  press("faster", "faster");
  await until("4x", () => terminal.stamp === "4x 00:00");
  press("slower", "slower", "slower", "slower", "slower", "slower");
  await until("0.25x", () => terminal.stamp === "0.25x 00:00");
  press("quit");
  assert.equal(await ended, "quit");
});

Deno.test("Player asks for the recorded size and says when the window is smaller", async () => {
  const lines = '[0,"o","a"]\n[0,"r","1x1"]\n[0,"r","200x50"]\n[0,"o","b"]\n';
  const { terminal, ended } = await play(lines);
  await ended;
  // deno-lint-ignore no-control-regex
  assert.match(terminal.written, /a\x1b\[8;50;200t(?:\x1b7.*?\x1b8)?b/);
  assert.match(terminal.stamp, /^recorded at 200x50, this window is 80x24 {2}00:00$/);
});

Deno.test("Player shows the labels of markers, harmless", async () => {
  const { terminal, ended } = await play('[0,"m","join alice (peer)\\u001b[2J"]\n[0,"o","a"]\n');
  await ended;
  assert.equal(terminal.stamp, "join alice (peer)\\x1b[2J  00:00");
});

Deno.test("Player draws no stamp while the recorded program has a cursor saved", async () => {
  const { terminal, ended } = await play('[0,"o","\\u001b7abc"]\n[0.3,"o","d"]\n[0.6,"o","e"]\n');
  await ended;
  assert.equal(terminal.shown, "\x1b7abcde");
});

Deno.test("Player quits while it waits for a source that does not answer", async () => {
  const bytes = utf8Encode(HEADER + seconds(2));
  const source: ByteSource = {
    read: (offset) =>
      offset < bytes.length ? Promise.resolve(bytes.subarray(offset)) : new Promise(() => {}),
  };
  const { terminal, press, until, ended } = await play("", { source, longestPause: 1 });
  await until("both", () => terminal.shown.startsWith("0 "));
  press("forward", "back", "pause", "quit");
  assert.equal(await ended, "quit");
});

Deno.test("Player fails as its source does", async () => {
  const bytes = utf8Encode(HEADER + seconds(1));
  const source: ByteSource = {
    read: (offset) =>
      offset < bytes.length
        ? Promise.resolve(bytes.subarray(offset))
        : Promise.reject(new ConnectionProblem("the connection was lost")),
  };
  const { ended } = await play("", { source });
  await assert.rejects(ended, ConnectionProblem);
});

Deno.test("PlayerScreen.restoring() leaves the alternate screen only when it is on it", () => {
  const terminal = new FakeTerminal();
  const screen = new PlayerScreen(terminal, { cols: 80, rows: 24 });
  assert.ok(!utf8Decode(screen.restoring()).includes("\x1b[?1049l"));
  screen.output(utf8Encode("\x1b[?1049h"));
  const restoring = utf8Decode(screen.restoring());
  for (const part of ["\x1b[?1049l", "\x1b[!p", "\x1b[?25h", "\x1b[?2004l", "\x1b[?1000l"]) {
    assert.ok(restoring.includes(part), JSON.stringify(part));
  }
});

Deno.test("timeText() writes minutes, and hours when there are any", () => {
  assert.deepEqual([0, 61.9, 3600, 36_061].map(timeText), [
    "00:00",
    "01:01",
    "1:00:00",
    "10:01:01",
  ]);
});

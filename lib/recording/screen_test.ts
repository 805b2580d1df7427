import assert from "node:assert/strict";
import { utf8Encode } from "../base/bytes.ts";
import { ModeScanner } from "./modes.ts";
import { FoldBudget, Screen } from "./screen.ts";
import { type DrawnSize, VirtualTerminal } from "./virtual_terminal.ts";

const SIZE = { cols: 80, rows: 24 };
const ALT = "\x1b[?1049h";

interface Line {
  translateToString(trim: boolean): string;
}

interface Reader {
  readonly buffer: {
    readonly active: {
      type: string;
      cursorX: number;
      cursorY: number;
      getLine(y: number): Line | undefined;
    };
  };
  readonly modes: Record<string, unknown>;
  write(data: Uint8Array, done: () => void): void;
  onTitleChange(take: (title: string) => void): void;
}

/** A terminal as a joiner has it, for tests only. */
async function reader(size: DrawnSize): Promise<Reader> {
  const loaded = await import("@xterm/headless") as unknown as {
    default: { Terminal: new (o: object) => Reader };
  };
  return new loaded.default.Terminal({
    ...size,
    scrollback: 0,
    allowProposedApi: true,
    logLevel: "off",
  });
}

async function look(picture: Uint8Array, size: DrawnSize = SIZE) {
  const terminal = await reader(size);
  let title = "";
  terminal.onTitleChange((text) => title = text);
  await new Promise<void>((resolve) => terminal.write(picture, resolve));
  const { active } = terminal.buffer;
  const lines: string[] = [];
  for (let y = 0; y < size.rows; y++) lines.push(active.getLine(y)?.translateToString(true) ?? "");
  return {
    terminal,
    type: active.type,
    lines,
    text: lines.join("\n").trimEnd(),
    cursor: [active.cursorX, active.cursorY],
    modes: terminal.modes,
    title,
  };
}

const shared = new VirtualTerminal();

function screen(size: DrawnSize = SIZE): { show: (text: string) => void; screen: Screen } {
  const made = new Screen(size, shared, new FoldBudget());
  return {
    screen: made,
    show: (text) => {
      const bytes = utf8Encode(text);
      for (let at = 0; at < bytes.length; at += 64 * 1024) {
        made.output(bytes.subarray(at, at + 64 * 1024));
      }
    },
  };
}

/** The same output on a terminal that was there all the time. */
async function direct(text: string, size: DrawnSize = SIZE) {
  return await look(utf8Encode(text), size);
}

Deno.test("a prompt after some commands", async () => {
  const { screen: made, show } = screen();
  const text = "$ echo one\r\none\r\n$ \x1b[1;32mls\x1b[0m\r\na  b\r\n$ ";
  show(text);
  const seen = await look(await made.snapshot());
  const wanted = await direct(text);
  assert.deepEqual(seen.lines, wanted.lines);
  assert.deepEqual(seen.cursor, wanted.cursor);
});

const vim = `${ALT}\x1b[?1h\x1b=\x1b[1;24r\x1b[?2004h\x1b[?12l\x1b[?25l\x1b[2J\x1b[H` +
  'first line\r\nsecond line\r\n\x1b[94m~\x1b[0m\r\n~\x1b[24;1H"note.txt" 2L\x1b[1;3H\x1b[?25h' +
  "\x1b]2;note.txt - VIM\x07\x1b[2 q";

Deno.test("like vim: alternate screen, modes, title and cursor are restored", async () => {
  const { screen: made, show } = screen();
  show("$ vim note.txt\r\n" + vim);
  const picture = await made.snapshot();
  const seen = await look(picture);
  const wanted = await direct("$ vim note.txt\r\n" + vim);
  assert.equal(seen.type, "alternate");
  assert.deepEqual(seen.lines, wanted.lines);
  assert.deepEqual(seen.cursor, wanted.cursor);
  assert.equal(seen.modes.applicationCursorKeysMode, true);
  assert.equal(seen.modes.applicationKeypadMode, true);
  assert.equal(seen.modes.bracketedPasteMode, true);
  assert.equal(seen.title, "note.txt - VIM");
  // What the session does next meets the same terminal: leaving shows the shell again.
  await new Promise<void>((resolve) =>
    seen.terminal.write(utf8Encode("\x1b[?1049l$ after"), resolve)
  );
  assert.equal(seen.terminal.buffer.active.type, "normal");
  const lines = [0, 1].map((y) => seen.terminal.buffer.active.getLine(y)?.translateToString(true));
  assert.deepEqual(lines, ["$ vim note.txt", "$ after"]);
});

Deno.test("a hidden cursor and mouse reports are restored", async () => {
  const { screen: made, show } = screen();
  show("\x1b[?25l\x1b[?1002h\x1b[?1006h\x1b[?1004hx");
  const text = new TextDecoder().decode(await made.snapshot());
  assert.ok(text.includes("\x1b[?25l"));
  assert.ok(text.includes("\x1b[?1006h"));
  assert.equal((await look(utf8Encode(text))).modes.mouseTrackingMode, "drag");
});

Deno.test("margins are restored, and the cursor is where it was", async () => {
  const { screen: made, show } = screen();
  const text = "\x1b[2J\x1b[5;10r\x1b[7;12Hhere";
  show(text);
  const seen = await look(await made.snapshot());
  assert.deepEqual(seen.cursor, [15, 6]);
  // A line feed at the lower margin scrolls the region only.
  const more = "\x1b[1;1Htop\x1b[10;1Hlast\r\n";
  await new Promise<void>((resolve) => seen.terminal.write(utf8Encode(more), resolve));
  const wanted = await direct(text + more);
  assert.deepEqual(
    wanted.lines,
    wanted.lines.map((_, y) => seen.terminal.buffer.active.getLine(y)?.translateToString(true)),
  );
});

/** One refresh of a program like top: every line is written anew. */
function frame(n: number): string {
  let text = "\x1b[H";
  for (let y = 0; y < 23; y++) text += `line ${y} of frame ${n} ${"x".repeat(40)}\x1b[K\r\n`;
  return text + `end ${n}\x1b[K`;
}

Deno.test("like top: after far more frames than are kept, the last one is seen", async () => {
  const { screen: made, show } = screen();
  show(`$ top\r\n${ALT}\x1b[?25l\x1b[2J`);
  for (let n = 0; n < 400; n++) show(frame(n));
  const seen = await look(await made.snapshot());
  assert.equal(seen.type, "alternate");
  assert.deepEqual(seen.lines, (await direct(`${ALT}${frame(399)}`)).lines);
});

Deno.test("partial changes to a screen that was drawn long ago are kept by drawing for room", async () => {
  const { screen: made, show } = screen();
  const head = `${ALT}\x1b[2J\x1b[Ha heading that is never drawn again`;
  show(head);
  let last = "";
  // More than is kept, in the pace of a program that can be followed.
  for (let n = 0; n < 1500; n++) {
    last = `\x1b[10;1H${n} ${"y".repeat(70)}\x1b[12;1H${n} ${"z".repeat(70)}`;
    show(last);
  }
  const seen = await look(await made.snapshot());
  assert.deepEqual(seen.lines, (await direct(head + last)).lines);
});

Deno.test("bulk output, then a prompt: modes that changed in what was dropped are known", async () => {
  const { screen: made, show } = screen();
  show("$ \x1b[?2004h");
  const bulk = Array.from({ length: 60_000 }, (_, n) => `line ${n} äöü\r\n`).join("");
  show("\x1b[?2004l" + bulk.slice(0, bulk.length / 2));
  show("\x1b[?1h\x1b]0;busy\x07\x1b[4h\x1b[4l");
  show(bulk.slice(bulk.length / 2) + "$ ");
  const seen = await look(await made.snapshot());
  assert.deepEqual(seen.lines, (await direct(bulk.slice(-4000) + "$ ")).lines);
  assert.equal(seen.modes.bracketedPasteMode, false);
  assert.equal(seen.modes.applicationCursorKeysMode, true);
  assert.equal(seen.title, "busy");
});

Deno.test("a program that ended within what was dropped has left its screen", async () => {
  const { screen: made, show } = screen();
  const bulk = Array.from({ length: 40_000 }, (_, n) => `line ${n}\r\n`).join("");
  show("$ vim\r\n" + vim);
  await made.snapshot();
  show("\x1b[?1049l\x1b[r\x1b[?25h" + bulk + "$ ");
  const seen = await look(await made.snapshot());
  assert.equal(seen.type, "normal");
  assert.deepEqual(seen.lines, (await direct(bulk.slice(-3000) + "$ ")).lines);
});

Deno.test("resizes are followed, and a picture is of the moment when it was asked for", async () => {
  const { screen: made, show } = screen();
  show("one\r\n");
  made.resize({ cols: 100, rows: 30 });
  show(`\x1b[30;90Hcorner`);
  const asked = made.snapshot();
  show("\x1b[2J\x1b[Hlater");
  const seen = await look(await asked, { cols: 100, rows: 30 });
  assert.equal(seen.lines[0], "one");
  assert.equal(seen.lines[29], " ".repeat(89) + "corner");
  const later = await look(await made.snapshot(), { cols: 100, rows: 30 });
  assert.equal(later.text, "later");
});

Deno.test("sizes that would need gigabytes are drawn as far as that makes sense", async () => {
  const { screen: made, show } = screen({ cols: 65_535, rows: 65_535 });
  show("hello");
  made.resize({ cols: 1, rows: 65_535 });
  made.resize({ cols: 80, rows: 24 });
  assert.equal((await look(await made.snapshot())).text, "hello");
});

Deno.test("ModeScanner reads sequences wherever they are cut", () => {
  const text = utf8Encode(
    "a\x1b[?25l\x1b]2;a title\x1b\\b\x1b(0\x1b[3;20r\x1b[4 q\x1bPq\x1b\\\x1b[?1049h\x1b[?6h\x1b=",
  );
  const whole = new ModeScanner();
  whole.scan(text);
  const wanted = new TextDecoder().decode(whole.replay({ screen: true }));
  assert.equal(
    wanted,
    "\x1b[?1049h\x1b[?25l\x1b=\x1b[4 q\x1b(0\x1b]2;a title\x07\x1b[3;20r\x1b[?6h",
  );
  for (let cut = 0; cut <= text.length; cut++) {
    const scanner = new ModeScanner();
    scanner.scan(text.subarray(0, cut));
    scanner.scan(text.subarray(cut));
    assert.equal(new TextDecoder().decode(scanner.replay({ screen: true })), wanted, `cut ${cut}`);
    assert.ok(scanner.isGround);
  }
});

Deno.test("ModeScanner keeps little of what never ends", () => {
  const scanner = new ModeScanner();
  scanner.scan(utf8Encode("\x1b]2;" + "t".repeat(1_000_000)));
  scanner.scan(utf8Encode("\x07\x1b[" + "1;".repeat(500_000) + "h"));
  for (let mode = 100; mode < 10_000; mode++) scanner.scan(utf8Encode(`\x1b[?${mode}h`));
  assert.ok(scanner.replay({ screen: true }).length < 2000);
  assert.ok(scanner.isGround);
});

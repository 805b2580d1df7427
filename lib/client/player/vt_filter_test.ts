import assert from "node:assert/strict";
import fc from "fast-check";
import { concat, utf8Encode } from "../../base/bytes.ts";
import { BLANK_SCREEN, VtFilter } from "./vt_filter.ts";

function filtered(text: string): string {
  return new VtFilter().push(utf8Encode(text));
}

Deno.test("VtFilter lets text and what draws pass unchanged", () => {
  for (
    const text of [
      "plain text, tabs\tand lines\r\n",
      "Grüße, 日本語 🙂 e\u0301",
      "\x1b[1;31mred\x1b[0m \x1b[38;2;1;2;3m\x1b[38:5:9m\x1b[m",
      "\x1b[2J\x1b[H\x1b[10;20H\x1b[K\x1b[3A\x1b[5;10r\x1b[4h\x1b[4l\x1b[2 q\x1b[!p",
      "\x1b[?1049h\x1b[?25l\x1b[?7h\x1b[?1049l",
      "\x1b(0lqqk\x1b(B\x0e\x0f\x1b7\x1b8\x1bM\x1bD\x1bE\x1b#8",
      "\x1b[s\x1b[u\x1b[3b\x1b[2S\x1b[T\x1b[?2J\x1b[?K",
    ]
  ) assert.equal(filtered(text), text);
});

Deno.test("attack 59: VtFilter drops what makes a terminal answer, or do more than draw", () => {
  const dropped = {
    "ENQ": "\x05",
    "BEL": "\x07",
    "XON and XOFF": "\x11\x13",
    "DA 1, 2, 3": "\x1b[c\x1b[0c\x1b[>c\x1b[=c\x1bZ\x9bc",
    "DSR": "\x1b[5n\x1b[6n\x1b[?6n\x1b[?15n\x9b6n",
    "DECRQM": "\x1b[4$p\x1b[?2004$p",
    "DECRQSS": "\x1bP$qm\x1b\\\x90$qr\x9c",
    "XTGETTCAP": "\x1bP+q544e\x1b\\",
    "XTVERSION": "\x1b[>q\x1b[>0q",
    "terminal parameters": "\x1b[x\x1b[1x",
    "checksum of a rectangle": "\x1b[1;1;1;1;1;1*y",
    "presentation state": "\x1b[1$w\x1b[2&u",
    "colour queries": "\x1b]4;1;?\x07\x1b]10;?\x07\x1b]11;?\x1b\\\x9d12;?\x9c",
    "palette": "\x1b]4;1;#ff0000\x07\x1b]104\x07\x1b]Pfabcdef\x1b]R",
    "clipboard": "\x1b]52;c;ZWNobyBoaQ==\x07\x1b]52;c;?\x07",
    "titles": "\x1b]0;title\x07\x1b]2;title\x1b\\\x1bktitle\x1b\\",
    "title and size reports": "\x1b[21t\x1b[18t\x1b[14t\x1b[11t\x1b[22;0t\x1b[23t",
    "window operations": "\x1b[8;99;99t\x1b[2t\x1b[3;0;0t\x1b[9;1t",
    "links, notifications, files": "\x1b]8;;http://x\x07\x1b]9;hi\x07\x1b]777;x\x07\x1b]1337;x\x07",
    "keyboard":
      "\x1b[?1h\x1b=\x1b>\x1b[>4;2m\x1b[?4m\x1b[>1u\x1b[=1;1u\x1b[?u\x1b[<u\x1b[2h\x1b[20h",
    "mouse, focus and paste":
      "\x1b[?9h\x1b[?1000h\x1b[?1002;1003;1006h\x1b[?1004h\x1b[?2004h\x1b[1;1;1;1;1T",
    "width of the window": "\x1b[?3h\x1b[?40h\x1b[?80h",
    "reports of changes": "\x1b[?2031h\x1b[?2048h\x1b[?996n",
    "saved private modes": "\x1b[?1000s\x1b[?1000r",
    "printer": "\x1b[i\x1b[5i\x1b[?5i",
    "lamps": "\x1b[1q",
    "tabs": "\x1b[3g\x1bH\x88\x1b[?5W",
    "scrollback": "\x1b[3J\x1b[?3J",
    "character coding": "\x1b%@\x1b%G\x1b F\x1b G",
    "APC, PM, SOS": "\x1b_Gi=1;AAAA\x1b\\\x1b^x\x1b\\\x1bXx\x1b\\\x9fx\x9c\x9ex\x9c\x98x\x9c",
    "sixel": "\x1bPq#0;2;0;0;0~~\x1b\\",
    "broken sequences": "\x1b[1;2;\x18\x1b]0;x\x1a\x1b[1$ $ $ $ $p\x1b[1?2h\x1b[" +
      "1".repeat(400) + "m",
  };
  for (const [what, text] of Object.entries(dropped)) {
    assert.equal(filtered(`<${text}>`), "<>", what);
  }
});

Deno.test("VtFilter keeps the drawing part of mixed modes and bounds numbers", () => {
  assert.equal(filtered("\x1b[?1049;1000;25h"), "\x1b[?1049;25h");
  assert.equal(filtered("\x1b[99999999999;1H"), "\x1b[9999;1H");
  assert.equal(filtered("x\x1b[99999999b"), "x\x1b[999b");
  assert.equal(filtered("\x1b[1\n;2H"), "\n\x1b[1;2H");
});

Deno.test("VtFilter turns a hard reset into one that leaves the watcher's scrollback alone", () => {
  assert.equal(filtered("a\x1bcb"), `a${BLANK_SCREEN}b`);
  assert.ok(!BLANK_SCREEN.includes("\x1bc") && !BLANK_SCREEN.includes("[3J"));
});

Deno.test("VtFilter takes 8-bit controls for what they are, in UTF-8", () => {
  assert.equal(filtered("\u009b1mx\u0085\u008d"), "\x1b[1mx\x1bE\x1bM");
});

Deno.test("VtFilter shows bytes that are not UTF-8 as replacement characters", () => {
  assert.equal(new VtFilter().push(Uint8Array.of(0x61, 0x9b, 0x36, 0x6e, 0xff)), "a\ufffd6n\ufffd");
});

Deno.test("VtFilter knows the alternate screen and a saved cursor", () => {
  const filter = new VtFilter();
  const after = (text: string) => {
    filter.push(utf8Encode(text));
    return [filter.onAlternateScreen, filter.cursorIsSaved];
  };
  assert.deepEqual(after("\x1b[?1049h"), [true, false]);
  assert.deepEqual(after("\x1b7"), [true, true]);
  assert.deepEqual(after("\x1b8\x1b[?1049l"), [false, false]);
  assert.deepEqual(after("\x1b[s"), [false, true]);
  assert.deepEqual(after("\x1bc"), [false, false]);
});

/** Everything that the filter is meant to let through: nothing else may come out of it. */
const allowedSequences = new RegExp(
  [
    "[\\x08-\\x0f]",
    "[^\\x00-\\x1f\\x7f-\\x9f]",
    "\\x1b[78DEM69]",
    "\\x1b#[34568]",
    "\\x1b[()*+][\\x30-\\x7e]",
    "\\x1b\\[[0-9:;]{0,128}m",
    "\\x1b\\[[0-9;]*[ABCDEFGHIKLMPSXZ`abdefrsu@]",
    "\\x1b\\[\\d{0,4}T",
    "\\x1b\\[\\??[012]?(?:;[0-9;]*)?J",
    "\\x1b\\[\\?[0-9;]*K",
    "\\x1b\\[4(?:;4)*[hl]",
    "\\x1b\\[\\?(?:(?:5|6|7|25|47|69|1047|1048|1049);?)+[hl]",
    "\\x1b\\[!p",
    "\\x1b\\[[0-9;]*(?: q|\"q|'[}~]| [@A])",
  ].join("|"),
  "uy",
);

function assertHarmless(text: string): void {
  for (let at = 0; at < text.length; at = allowedSequences.lastIndex) {
    allowedSequences.lastIndex = at;
    assert.ok(allowedSequences.test(text), JSON.stringify(text.slice(at, at + 40)));
  }
}

/** Bytes that make sequences likely. */
const hostile = fc.array(
  fc.oneof(
    fc.constantFrom(
      ...[
        "\x1b",
        "\x1b[",
        "\x1b]",
        "\x1bP",
        "\x1b_",
        "\u009b",
        "\u009d",
        "\x07",
        "\x1b\\",
        "\u009c",
      ],
      ...["?", ">", "=", "<", ";", ":", "1", "3", "4", "52", "1000", "2004", "1049", "$", " ", "!"],
      ...[
        "c",
        "n",
        "h",
        "l",
        "m",
        "p",
        "q",
        "t",
        "u",
        "x",
        "J",
        "T",
        "b",
        "s",
        "r",
        "R",
        "P",
        "\x18",
      ],
      ...["\n", "\x05", "\x0e", "é", "🙂", "text"],
    ).map(utf8Encode),
    fc.uint8Array({ maxLength: 4 }),
  ),
  { maxLength: 40 },
).map((parts) => concat(...parts));

Deno.test("attack 59: whatever VtFilter is fed, nothing but what draws comes out", () => {
  fc.assert(
    fc.property(hostile, (bytes) => assertHarmless(new VtFilter().push(bytes))),
    { numRuns: 5000 },
  );
});

Deno.test("VtFilter gives the same however its input is cut", () => {
  fc.assert(
    fc.property(hostile, fc.array(fc.nat(60)), (bytes, cuts) => {
      const whole = new VtFilter().push(bytes);
      const filter = new VtFilter();
      let pieces = "";
      let at = 0;
      for (const cut of cuts) {
        pieces += filter.push(bytes.subarray(at, at + cut % 5));
        at += cut % 5;
      }
      pieces += filter.push(bytes.subarray(at));
      assert.equal(pieces, whole);
      assertHarmless(pieces);
    }),
    { numRuns: 2000 },
  );
});

Deno.test("VtFilter keeps nothing of a string or a sequence without an end", () => {
  const filter = new VtFilter();
  const block = utf8Encode("A".repeat(1 << 16));
  for (const start of ["\x1b]0;", "\x1bP", "\x1b["]) {
    filter.push(utf8Encode(start));
    for (let i = 0; i < 16; i++) {
      filter.push(start === "\x1b[" ? utf8Encode("1".repeat(9999)) : block);
    }
    assert.equal(filter.push(utf8Encode("\x18x")), "x");
  }
});

import { printable } from "../../lib/base/text.ts";
import { UsageError } from "../../lib/cli/exit.ts";
import type { Flags } from "../../lib/cli/flags.ts";
import { outBytes, say, warn } from "../../lib/cli/output.ts";
import type { CommandSpec } from "../../lib/cli/program.ts";
import { KeyTerminal, StdinTerminal } from "../../lib/cli/terminal.ts";
import { FORMATS, type PlayFormat, writeAs } from "../../lib/client/player/formats.ts";
import { KeyDecoder, KEYS_HELP } from "../../lib/client/player/keys.ts";
import { SPEEDS } from "../../lib/client/player/pace.ts";
import { Player } from "../../lib/client/player/player.ts";
import { PlayerScreen } from "../../lib/client/player/screen.ts";
import { parseDuration } from "../../lib/base/duration.ts";
import { BadParameter } from "../../lib/base/errors.ts";
import { Recording } from "../../lib/recording/play/recording.ts";
import { type OpenSource, openSource } from "./recording_source.ts";

/** `--skip-idle-time` without a value. */
const DEFAULT_PAUSE = "1s";

export const command: CommandSpec = {
  name: "play",
  summary: "play the recording of a session",
  usage: "<session|file|->",
  arguments: [{
    name: "[recording]",
    about: "id of a session or how it begins, a file (.cast.gz, .cast), or - for stdin",
  }],
  options: [
    {
      flags: "--speed <factor>",
      description: `how fast, from ${SPEEDS.min} to ${SPEEDS.max}`,
      default: "1",
    },
    {
      flags: "--skip-idle-time [longest]",
      description: `cut pauses to this (${DEFAULT_PAUSE} when no time is given); 0 keeps them all`,
    },
    {
      flags: "-f, --format <format>",
      description: "pty plays it; text, json and cast print all of it (default: pty on a " +
        "terminal, else text)",
      choices: FORMATS,
    },
  ],
  notes: `${KEYS_HELP}\n` +
    "Unless told otherwise, pauses longer than a second last one second.\n" +
    "Nothing of a recording but what draws reaches the terminal: no titles, no clipboard, no\n" +
    "queries. A running session plays up to now.",
  examples: [
    ["tsh play 4c146ec8", "the session whose id begins like this; `tsh recordings ls` has the ids"],
    ["tsh play --speed=4 --skip-idle-time=200ms 4c146ec8", "fast"],
    ["tsh play --format=text 4c146ec8 | grep passwd", "what was on the screen, as lines"],
    ["tsh play --format=cast 4c146ec8 > session.cast", "for asciinema and other players"],
    ["tsh play session.cast.gz", "a file"],
  ],
  async run(args, flags) {
    const { what, longestPause } = idleOf(args[0], flags);
    if (what === undefined) {
      throw new UsageError(
        "which recording? Name a session's id or a file; `tsh recordings ls` lists the recordings",
      );
    }
    const speed = speedOf(flags);
    const format = formatOf(flags);
    using source = await openSource(what, flags);
    const recording = await Recording.open(source);
    if (format === "pty") {
      const end = await playOnTerminal(recording, { speed, ...longestPause });
      if (end === "quit") return 0;
    } else await writeAs(format, recording, outBytes);
    return sayHowItEnded(recording, source);
  },
};

async function playOnTerminal(
  recording: Recording,
  pace: { speed: number; longestPause?: number },
): Promise<"ended" | "quit"> {
  const terminal = new StdinTerminal();
  const { width: cols, height: rows } = recording.header;
  const screen = new PlayerScreen({ size: () => terminal.size(), write: writeAll }, { cols, rows });
  const restore = () => {
    try {
      outBytes(screen.restoring());
    } catch {
      // The terminal is gone: nothing is left to restore.
    }
  };
  const keys = KeyTerminal.open();
  using _raw = keys ? keys.raw(restore) : { [Symbol.dispose]: restore };
  const player = new Player({ recording, screen, ...pace });
  if (keys) pressKeys(keys, player);
  return await player.run();
}

/** Until the program ends. */
async function pressKeys(keys: KeyTerminal, player: Player): Promise<void> {
  const decoder = new KeyDecoder();
  const buffer = new Uint8Array(256);
  for (;;) {
    const n = await keys.read(buffer).catch(() => null);
    // A terminal that has gone away watches no longer.
    if (n === null) return player.press("quit");
    for (const command of decoder.push(buffer.subarray(0, n))) player.press(command);
  }
}

async function writeAll(bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) done += await Deno.stdout.write(bytes.subarray(done));
}

/** Says why there is not more. Returns the exit status. */
function sayHowItEnded(recording: Recording, source: OpenSource): number {
  const { damage, torn, unreadable } = recording;
  if (unreadable > 0) {
    warn(`${unreadable} line${unreadable > 1 ? "s" : ""} of the recording cannot be read`);
  }
  if (torn !== undefined) warn(`The recording is cut off: ${printable(torn)}`);
  if (source.isFinished?.() === false) {
    say("The session is still running, or its host has yet to send the rest: this is all so far.");
    return 0;
  }
  if (damage === undefined) return 0;
  warn(`The recording ends here: ${printable(damage)}`);
  return 1;
}

function speedOf(flags: Flags): number {
  const text = flags.text("speed") ?? "1";
  const speed = Number(text.replace(/x$/, ""));
  if (text !== "" && speed >= SPEEDS.min && speed <= SPEEDS.max) return speed;
  throw new UsageError(`--speed=${text} is not a number from ${SPEEDS.min} to ${SPEEDS.max}`);
}

/** A recording that was taken for the value of `--skip-idle-time` is given back. */
function idleOf(
  what: string | undefined,
  flags: Flags,
): { what: string | undefined; longestPause: { longestPause?: number } } {
  const text = flags.on("skip-idle-time") ? DEFAULT_PAUSE : flags.text("skip-idle-time");
  if (text === undefined) return { what, longestPause: {} };
  try {
    return { what, longestPause: { longestPause: parseDuration(text) } };
  } catch (e) {
    if (!(e instanceof BadParameter)) throw e;
    if (what !== undefined) throw new UsageError(`--skip-idle-time=${text} is no time such as 1s`);
    return { what: text, longestPause: { longestPause: parseDuration(DEFAULT_PAUSE) } };
  }
}

function formatOf(flags: Flags): PlayFormat {
  const asked = FORMATS.find((format) => format === flags.text("format"));
  const onTerminal = Deno.stdout.isTerminal();
  if (asked === undefined) return onTerminal ? "pty" : "text";
  // There is no screen to play on.
  return asked === "pty" && !onTerminal ? "text" : asked;
}

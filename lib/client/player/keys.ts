/** What the keys of the player mean. */

export type Command =
  | "pause"
  | "forward"
  | "back"
  | "step"
  | "step-back"
  | "faster"
  | "slower"
  | "quit";

export const KEYS_HELP =
  "Space pauses and goes on; right and left skip 10 seconds; . and , step one event; up and down\n" +
  "play faster and slower; q or Ctrl-C ends.";

const commands: Readonly<Record<string, Command>> = {
  " ": "pause",
  ".": "step",
  ",": "step-back",
  "+": "faster",
  "-": "slower",
  "q": "quit",
  "Q": "quit",
  "\x03": "quit",
  "\x04": "quit",
  "\x1b[A": "faster",
  "\x1b[B": "slower",
  "\x1b[C": "forward",
  "\x1b[D": "back",
};

/** One key: a control sequence (cursor keys, also in application mode) or a character. */
// deno-lint-ignore no-control-regex
const key = /\x1b(?:\[[0-?]*[ -/]*[@-~]|O[@-~])|[^]/y;
/** The beginning of a control sequence, whose end may be in the next read. */
// deno-lint-ignore no-control-regex
const unfinished = /\x1b(?:\[[0-?]*[ -/]*|O)?$/;
const MAX_UNFINISHED = 32;

/** Bytes that were typed, as commands; keys that mean nothing are passed over. */
export class KeyDecoder {
  #begun = "";

  push(bytes: Uint8Array): Command[] {
    let text = this.#begun;
    for (const byte of bytes) text += String.fromCharCode(byte);
    const end = unfinished.exec(text)?.index ?? text.length;
    this.#begun = text.length - end > MAX_UNFINISHED ? "" : text.slice(end);
    const found: Command[] = [];
    for (let at = 0; at < end; at = key.lastIndex) {
      key.lastIndex = at;
      const pressed = key.exec(text)?.[0] ?? "";
      const command = commands[pressed.replace("\x1bO", "\x1b[")];
      if (command !== undefined) found.push(command);
      if (pressed === "") break;
    }
    return found;
  }
}

/** Escape sequences that bring a terminal back to what people expect, whatever was shown on it. */

/**
 * Takes back modes that a full-screen program may have set: the alternate screen (1047 leaves it
 * and does not touch the cursor), mouse, focus and paste reports, the keypad, and what a soft reset
 * covers: colours, scroll region, origin, hidden cursor.
 */
export const ORDINARY_MODES =
  "\x1b[?1047l\x1b[?1000;1002;1003;1004;1005;1006;1015;2004l\x1b>\x1b[!p\x1b[?25h";

/** Makes it such an empty terminal as a program starts on. */
export const EMPTY_SCREEN = `${ORDINARY_MODES}\x1b[H\x1b[2J`;

/** Gives it back to who is in front of it: on a new line below what was shown. */
export const GIVEN_BACK = `${ORDINARY_MODES}\x1b[999;1H\r\n`;

/** Shows a line over the last one of a full-screen program, and leaves the cursor where it was. */
export function overLastLine(line: string): string {
  return `\x1b7\x1b[999;1H\x1b[0;7m${line}\x1b[0m\x1b[K\x1b8`;
}

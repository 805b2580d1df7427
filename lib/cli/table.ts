/**
 * Tables as Teleport prints them: titles, dashes as wide as the column, cells padded with one space
 * between. cli-table3 cannot draw the dashes that scripts and eyes know, hence these few lines.
 */
import { printable } from "../base/text.ts";

const minWidth = 5;

/**
 * Cells come from outside, so they are made printable; a line feed in a cell continues it in the
 * next line of the table. Without `titles` only the rows are printed.
 */
export function table(titles: readonly string[] | undefined, rows: readonly string[][]): string {
  const cells = rows.map((row) => row.map((cell) => cell.split("\n").map((s) => printable(s))));
  const columns = titles?.length ?? Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, i) => {
    const texts = [titles?.[i] ?? "", ...cells.flatMap((row) => row[i] ?? [])];
    return Math.max(...texts.map(displayWidth));
  });
  const line = (parts: string[]) =>
    widths.map((width, i) => {
      const part = parts[i] ?? "";
      return part + " ".repeat(Math.max(minWidth, width + 1) - displayWidth(part));
    }).join("");
  const head = titles ? [line([...titles]), line(widths.map((width) => "-".repeat(width)))] : [];
  const body = cells.flatMap((row) => {
    const height = Math.max(1, ...row.map((cell) => cell.length));
    return Array.from({ length: height }, (_, i) => line(row.map((cell) => cell[i] ?? "")));
  });
  return [...head, ...body].join("\n");
}

/** Columns that text takes on a terminal: combining marks none, East Asian wide and emoji two. */
export function displayWidth(text: string): number {
  // deno-lint-ignore no-control-regex
  if (/^[\x00-\x7f]*$/.test(text)) return text.length;
  let width = 0;
  for (const c of text) width += /\p{Mn}|\p{Me}|\u200d/u.test(c) ? 0 : wide.test(c) ? 2 : 1;
  return width;
}

const wide =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|[\u{1f300}-\u{1f64f}\u{1f900}-\u{1f9ff}\u{20000}-\u{3fffd}]/u;

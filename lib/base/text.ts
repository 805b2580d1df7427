/**
 * What a terminal would act on instead of show: C0 and C1 controls, DEL, line separators, and the
 * invisible characters that reorder or hide text. Lone surrogates cannot be encoded.
 */
const unprintable =
  // deno-lint-ignore no-control-regex
  /[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]|[\ud800-\udfff]/gu;

/**
 * Text from outside, safe to show on a terminal: every character that a terminal would act on is
 * written as an escape that can be read (`\x1b`, `\u202e`). With `lines`, line feeds and tabs stay.
 */
export function printable(text: string, options?: { lines?: boolean }): string {
  return text.replace(unprintable, (c) => {
    if (options?.lines && (c === "\n" || c === "\t")) return c;
    const code = c.codePointAt(0) ?? 0;
    if (code >= 0xd800 && code <= 0xdfff) return "\ufffd";
    return code < 0x100
      ? `\\x${code.toString(16).padStart(2, "0")}`
      : `\\u${code.toString(16).padStart(4, "0")}`;
  });
}

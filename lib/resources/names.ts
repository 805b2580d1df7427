/** What tokens and labels may be called; for users, roles, clusters and logins see lib/cert. */

import { BadParameter } from "../base/errors.ts";

/** Tokens are any visible ASCII without a comma: some are base64. @throws BadParameter */
export function assertTokenName(name: string): void {
  if (!/^[!-+\--~]{1,255}$/.test(name)) {
    throw new BadParameter("A token has 1 to 255 visible ASCII characters and no comma");
  }
}

/** @throws BadParameter */
export function assertLabelKey(key: string): void {
  if (!/^[A-Za-z0-9_.:/-]{1,128}$/.test(key)) {
    throw new BadParameter(
      `${quote(key)} cannot be a label: use up to 128 letters, digits and . _ : / -`,
    );
  }
}

/** Longest value of a label, in characters. */
export const MAX_LABEL_VALUE = 4096;

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 100));
}

/** What resources, labels and logins may be called. */

import { BadParameter } from "../base/errors.ts";

/**
 * Names of users, roles, tokens, clusters: they stand in storage keys, file names, lists separated
 * by commas and command lines. "alice@example.com" is one.
 * @throws BadParameter
 */
export function assertResourceName(name: string): void {
  if (name === "") throw new BadParameter("A name must not be empty");
  if (name.length > 255) throw new BadParameter("A name has at most 255 characters");
  if (!/^[A-Za-z0-9_][A-Za-z0-9._@+:=~-]*$/.test(name)) {
    throw new BadParameter(
      `${quote(name)} cannot be a name: use letters, digits and . _ @ + : = ~ - , and begin with ` +
        "a letter, a digit or _",
    );
  }
}

/** @throws BadParameter */
export function assertPrincipal(name: string): void {
  if (!/^[A-Za-z0-9_.][A-Za-z0-9_.@+$-]{0,254}$/.test(name)) {
    throw new BadParameter(`${quote(name)} cannot be a login`);
  }
}

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

/** For tests: the real ssh-keygen as the oracle, and damage done to bytes. */
import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import fc from "fast-check";
import { BadParameter } from "../base/errors.ts";
import { generatePrivateKey, type KeyType, type PrivateKey, privateKeyFromObject } from "./keys.ts";

/** Runs `body` with a directory that is removed afterwards. */
export async function inTempDir(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "sshwire-" });
  try {
    await body(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** What ssh-keygen writes to stdout; fails the test when it fails. */
export async function sshKeygen(args: string[], stdin?: string | Uint8Array): Promise<string> {
  const result = await tryCommand("ssh-keygen", args, stdin);
  assert(result.success, `ssh-keygen ${args.join(" ")}: ${result.output}`);
  return result.output;
}

/** Runs a command; its output is stdout, or stderr where it failed. */
export async function tryCommand(
  command: string,
  args: string[],
  stdin: string | Uint8Array = "",
): Promise<{ success: boolean; output: string }> {
  const child = new Deno.Command(command, {
    args,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    env: { LC_ALL: "C", TZ: "UTC" },
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(typeof stdin === "string" ? new TextEncoder().encode(stdin) : stdin);
  await writer.close();
  const { success, stdout, stderr } = await child.output();
  return { success, output: new TextDecoder().decode(success ? stdout : stderr) };
}

/** How ssh-keygen is asked for a key of each type. */
export const keygenArguments: Record<KeyType, string[]> = {
  "ssh-ed25519": ["-t", "ed25519"],
  "ecdsa-sha2-nistp256": ["-t", "ecdsa", "-b", "256"],
  "ecdsa-sha2-nistp384": ["-t", "ecdsa", "-b", "384"],
  "ssh-rsa": ["-t", "rsa", "-b", "2048"],
};
export const keyTypes = Object.keys(keygenArguments) as KeyType[];

const made = new Map<string, PrivateKey>();

/** The same key each time it is asked for, because RSA keys take long to make. */
export function testKey(type: KeyType, which: "one" | "other" = "one"): PrivateKey {
  const name = `${type} ${which}`;
  let key = made.get(name);
  if (!key) {
    key = type === "ssh-rsa"
      ? privateKeyFromObject(generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey)
      : generatePrivateKey(type);
    made.set(name, key);
  }
  return key;
}

/** A key pair made by ssh-keygen: `path` and `path`.pub. */
export async function makeKey(path: string, type: KeyType, comment = "a comment"): Promise<void> {
  await sshKeygen(["-q", "-N", "", "-C", comment, "-f", path, ...keygenArguments[type]]);
}

/** Some bytes of `original` changed, taken out, put in, or the end cut off. */
export function damaged(original: Uint8Array): fc.Arbitrary<Uint8Array> {
  const at = fc.nat(original.length - 1);
  const flip = fc.tuple(at, fc.integer({ min: 1, max: 255 })).map(([i, mask]) => {
    const copy = Uint8Array.from(original);
    copy[i]! ^= mask;
    return copy;
  });
  const cut = at.map((length) => original.slice(0, length));
  const splice = fc.tuple(at, fc.nat(8), fc.uint8Array({ maxLength: 8 })).map(
    ([i, gone, added]) =>
      Uint8Array.from([...original.slice(0, i), ...added, ...original.slice(i + gone)]),
  );
  return fc.oneof(flip, cut, splice);
}

/** Runs `parse`; the only error that it may throw is BadParameter. */
export function onlyBadParameter<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch (e) {
    assert(e instanceof BadParameter, e instanceof Error ? e.stack : String(e));
    return undefined;
  }
}

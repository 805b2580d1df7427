/** Hashes passwords off the main thread: answers each request in order. */
/// <reference lib="deno.worker" />
import { Argon2id, type Argon2Parameters } from "./argon2.ts";

export interface HashRequest {
  password: Uint8Array;
  salt: Uint8Array;
  parameters: Argon2Parameters;
}

/** The tag, or what went wrong. */
export type HashAnswer = Uint8Array | string;

const scope = self as unknown as {
  onmessage: (event: MessageEvent<HashRequest>) => void;
  postMessage(answer: HashAnswer): void;
};

const argon2 = Argon2id.create();

scope.onmessage = async ({ data: { password, salt, parameters } }) => {
  try {
    scope.postMessage((await argon2).hash(password, salt, parameters));
  } catch (e) {
    scope.postMessage(e instanceof Error ? e.message : String(e));
  }
};

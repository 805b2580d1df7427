/** Hashes passwords off the main thread, one after the other. */
import { argon2id } from "hash-wasm";

export interface Argon2Parameters {
  memoryKiB: number;
  passes: number;
}

export interface HashRequest {
  password: Uint8Array;
  salt: Uint8Array;
  parameters: Argon2Parameters;
}

/** The tag of 32 bytes, or what went wrong. */
export type HashAnswer = Uint8Array | string;

const scope = self as unknown as {
  onmessage: (event: MessageEvent<HashRequest>) => void;
  postMessage(answer: HashAnswer): void;
};

scope.onmessage = async ({ data: { password, salt, parameters } }) => {
  try {
    scope.postMessage(
      await argon2id({
        password,
        salt,
        memorySize: parameters.memoryKiB,
        iterations: parameters.passes,
        parallelism: 1,
        hashLength: 32,
        outputType: "binary",
      }),
    );
  } catch (e) {
    scope.postMessage(e instanceof Error ? e.message : String(e));
  }
};

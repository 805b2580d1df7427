/** What ssh2 does not check in a key exchange. */
import { Buffer } from "node:buffer";
import { createPublicKey } from "node:crypto";

/** The peer's first choices in its KEXINIT, and whether a guessed packet follows (RFC 4253 §7.1). */
export function firstNames(payload: Buffer): { kex: string; hostKey: string; follows: boolean } {
  let at = 17;
  const lists: string[] = [];
  for (let i = 0; i < 10; i++) {
    const length = payload.readUInt32BE(at);
    lists.push(payload.toString("latin1", at + 4, at + 4 + length));
    at += 4 + length;
  }
  const first = (list: string | undefined) => list?.split(",", 1)[0] ?? "";
  return { kex: first(lists[0]), hostKey: first(lists[1]), follows: payload[at] === 1 };
}

const curves: Record<string, { spki: string; length: number }> = {
  "ecdh-sha2-nistp256": {
    spki: "3059301306072a8648ce3d020106082a8648ce3d030107034200",
    length: 65,
  },
  "ecdh-sha2-nistp384": { spki: "3076301006072a8648ce3d020106052b81040022036200", length: 97 },
};

/** What is wrong with the peer's public key of a key exchange method, if anything is. */
export function publicPointProblem(kex: string, key: Buffer): string | undefined {
  const curve = curves[kex];
  if (!curve) return key.length === 32 ? undefined : "Public key of wrong length";
  if (key.length !== curve.length || key[0] !== 4) return "Public key of wrong form";
  try {
    // Checks that the point is on the curve.
    const der = Buffer.concat([Buffer.from(curve.spki, "hex"), key]);
    createPublicKey({ key: der, type: "spki", format: "der" });
    return undefined;
  } catch {
    return "Public key is not on the curve";
  }
}

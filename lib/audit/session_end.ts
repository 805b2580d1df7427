/** The identity of a session's end, which is reported once whoever reports it. */
import { createHash } from "node:crypto";
import { fromHex, toHex } from "../base/bytes.ts";

/** Namespace of the ids made here (RFC 9562 §5.5): a random UUID, fixed for good. */
const NAMESPACE = "6f0e2d0a-6b63-4c0a-9d1e-2f4c0b8d7a51";

/**
 * The `uid` of the `session.end` of this session: a name-based UUID (RFC 9562, version 5). The node,
 * the proxy and an auth server that speaks for a host that died all come to the same one, so that
 * the audit log recognises the second report.
 *
 * @param sid UUID of the session
 */
export function sessionEndUid(sid: string): string {
  const hash = createHash("sha1")
    .update(fromHex(NAMESPACE.replaceAll("-", "")))
    .update(`session.end:${sid.toLowerCase()}`)
    .digest();
  const bytes = new Uint8Array(hash.subarray(0, 16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x50;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return toHex(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

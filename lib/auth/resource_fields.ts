/** What an audit event says of the resource that somebody changed. */
import { formatDuration } from "../base/duration.ts";

/**
 * R in the reference: name, expires, updated_by, ttl.
 *
 * @param by who changed it
 * @param expires RFC 3339; undefined for never
 */
export function resourceFields(
  name: string,
  by: string,
  expires: string | undefined,
  nowMs: number,
): { name: string; updated_by: string; expires?: string; ttl?: string } {
  if (expires === undefined) return { name, updated_by: by };
  const ttlMs = Math.max(0, Date.parse(expires) - nowMs);
  return {
    name,
    updated_by: by,
    expires,
    // The moments that have passed since it was set do not count.
    ttl: formatDuration(Math.round(ttlMs / 1000) * 1000),
  };
}

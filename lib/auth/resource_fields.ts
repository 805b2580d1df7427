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
    ttl: formatDuration(ttlMs < 1000 ? ttlMs : Math.floor(ttlMs / 1000) * 1000),
  };
}

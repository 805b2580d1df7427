/**
 * What the file transfer process tells the daemon about itself: one JSON object a line on stderr.
 * It runs with the user's rights, so the daemon takes these lines as the user's own account of
 * what was done: it checks their form, and adds who, where and when itself.
 */
import type { SftpAction } from "../../audit/events.ts";

export interface SftpReport {
  readonly action: SftpAction;
  /** Absolute. Bytes that are not UTF-8 are replaced. */
  readonly path: string;
  readonly target_path?: string;
  readonly bytes_read?: number;
  readonly bytes_written?: number;
  readonly error?: string;
}

const ACTIONS: ReadonlySet<string> = new Set<SftpAction>([
  "open",
  "close",
  "setstat",
  "fsetstat",
  "opendir",
  "remove",
  "mkdir",
  "rmdir",
  "rename",
  "symlink",
  "link",
]);

/** Two paths of 4096 bytes, each byte of them escaped. */
export const MAX_REPORT_LENGTH = 64 * 1024;

/** A line as a report; undefined for anything else. */
export function parseReport(line: string): SftpReport | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { action, path, target_path, bytes_read, bytes_written, error } = value as Record<
    string,
    unknown
  >;
  if (typeof action !== "string" || !ACTIONS.has(action) || typeof path !== "string") {
    return undefined;
  }
  return {
    action: action as SftpAction,
    path,
    ...(typeof target_path === "string" ? { target_path } : {}),
    ...(isCount(bytes_read) ? { bytes_read } : {}),
    ...(isCount(bytes_written) ? { bytes_written } : {}),
    ...(typeof error === "string" ? { error } : {}),
  };
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

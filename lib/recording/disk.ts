/** Whether a write failed because the disk, or what a user may have of it, is full. */
export function isDiskFull(error: unknown): boolean {
  const code = (error as { code?: unknown } | undefined)?.code;
  if (code === "ENOSPC" || code === "EDQUOT") return true;
  return error instanceof Error &&
    /no space left on device|quota exceeded|file too large/i.test(error.message);
}

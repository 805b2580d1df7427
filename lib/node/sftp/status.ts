/** Errors of the system as the client is told them. */
import { SFTP_STATUS } from "../../ssh/sftp_wire.ts";
import { OsError, strerror } from "../os/libc.ts";

const NO_SUCH_FILE = new Set([2, 9, 20, 40]); // ENOENT EBADF ENOTDIR ELOOP
const PERMISSION_DENIED = new Set([1, 13, 14, 30]); // EPERM EACCES EFAULT EROFS
const BAD_MESSAGE = new Set([22, 36]); // EINVAL ENAMETOOLONG
const OP_UNSUPPORTED = new Set([38, 95]); // ENOSYS ENOTSUP

/** The protocol's few statuses, given out as OpenSSH does. */
export function statusOf(error: unknown): number {
  if (!(error instanceof OsError)) return SFTP_STATUS.BAD_MESSAGE;
  const { errno } = error;
  if (NO_SUCH_FILE.has(errno)) return SFTP_STATUS.NO_SUCH_FILE;
  if (PERMISSION_DENIED.has(errno)) return SFTP_STATUS.PERMISSION_DENIED;
  if (BAD_MESSAGE.has(errno)) return SFTP_STATUS.BAD_MESSAGE;
  if (OP_UNSUPPORTED.has(errno)) return SFTP_STATUS.OP_UNSUPPORTED;
  return SFTP_STATUS.FAILURE;
}

export function textOf(error: unknown): string {
  if (error instanceof OsError) return strerror(error.errno);
  return error instanceof Error ? error.message : String(error);
}

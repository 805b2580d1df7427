/** Exit statuses, and the two errors that carry one. */
import { toTeleportError } from "../base/errors.ts";

export const exitStatus = {
  ok: 0,
  error: 1,
  usage: 2,
  /** 128 + SIGINT: somebody pressed Ctrl-C. */
  interrupted: 130,
  /** ssh's rule: the connection failed, so nothing is known of the remote command. */
  transport: 255,
} as const;

/** The command line cannot be understood. Ends the program with status 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Ends the program with `status`; everything that had to be said has been said. */
export class Exit extends Error {
  override readonly name = "Exit";
  constructor(readonly status: number) {
    super(`exit status ${status}`);
  }
}

/** The exit status that an error ends the program with. */
export function exitStatusOf(e: unknown): number {
  if (e instanceof Exit) return e.status;
  return e instanceof UsageError ? exitStatus.usage : exitStatus.error;
}

/**
 * The exit status of a command that works over a connection: 255 when the connection failed or was
 * refused, as ssh and scp have it; 1 when there was nothing to connect to.
 */
export function transportStatusOf(e: unknown): number {
  if (e instanceof Exit || e instanceof UsageError) return exitStatusOf(e);
  const { code } = toTeleportError(e);
  return code === "connection_problem" || code === "access_denied"
    ? exitStatus.transport
    : exitStatus.error;
}

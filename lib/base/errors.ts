/**
 * The one family of errors. A message is written for the person who reads it (what went wrong, why,
 * what to do); what a log needs beyond that goes into `cause`.
 */

export type ErrorCode =
  | "bad_parameter"
  | "access_denied"
  | "not_found"
  | "already_exists"
  | "compare_failed"
  | "limit_exceeded"
  | "connection_problem"
  | "internal";

/** Base of every error that crosses a module's border. Throw one of its subclasses. */
export abstract class TeleportError extends Error {
  abstract readonly code: ErrorCode;

  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = new.target.name;
  }
}

/** Input that cannot be used: malformed, out of range, unknown. */
export class BadParameter extends TeleportError {
  readonly code = "bad_parameter";
}

/** The caller is known, or not, and may not do this. */
export class AccessDenied extends TeleportError {
  readonly code = "access_denied";
}

/** What was named does not exist (or may not be seen). */
export class NotFound extends TeleportError {
  readonly code = "not_found";
}

/** What was to be created is there already. */
export class AlreadyExists extends TeleportError {
  readonly code = "already_exists";
}

/** Somebody else changed the value in between. Read it again and retry. */
export class CompareFailed extends TeleportError {
  readonly code = "compare_failed";
}

/** A quota, a size, a rate or a count is used up. */
export class LimitExceeded extends TeleportError {
  readonly code = "limit_exceeded";
}

/** The other side cannot be reached, went away, or did not answer in time. */
export class ConnectionProblem extends TeleportError {
  readonly code = "connection_problem";
}

/** Our own fault. */
export class InternalError extends TeleportError {
  readonly code = "internal";
}

const classes = {
  bad_parameter: BadParameter,
  access_denied: AccessDenied,
  not_found: NotFound,
  already_exists: AlreadyExists,
  compare_failed: CompareFailed,
  limit_exceeded: LimitExceeded,
  connection_problem: ConnectionProblem,
  internal: InternalError,
} as const satisfies Record<ErrorCode, new (message: string) => TeleportError>;

/** The error that a remote call's `code` stands for; a code that is not ours becomes InternalError. */
export function errorFromCode(code: string, message: string): TeleportError {
  return Object.hasOwn(classes, code)
    ? new classes[code as ErrorCode](message)
    : new InternalError(message);
}

/**
 * Anything that was thrown, as one of ours: ours pass unchanged, errors of the operating system
 * become what they mean, anything else is InternalError with the original as its cause.
 */
export function toTeleportError(e: unknown): TeleportError {
  if (e instanceof TeleportError) return e;
  const message = messageOf(e);
  for (const [foreign, ours] of foreignErrors) {
    if (e instanceof foreign) return new ours(message, { cause: e });
  }
  return new InternalError(message, { cause: e });
}

const foreignErrors: [new () => Error, new (m: string, o: { cause: unknown }) => TeleportError][] =
  [
    [Deno.errors.NotFound, NotFound],
    [Deno.errors.AlreadyExists, AlreadyExists],
    [Deno.errors.PermissionDenied, AccessDenied],
    [Deno.errors.NotCapable, AccessDenied],
    [Deno.errors.ConnectionRefused, ConnectionProblem],
    [Deno.errors.ConnectionReset, ConnectionProblem],
    [Deno.errors.ConnectionAborted, ConnectionProblem],
    [Deno.errors.NotConnected, ConnectionProblem],
    [Deno.errors.AddrInUse, ConnectionProblem],
    [Deno.errors.AddrNotAvailable, ConnectionProblem],
    [Deno.errors.NetworkUnreachable, ConnectionProblem],
    [Deno.errors.BrokenPipe, ConnectionProblem],
    [Deno.errors.TimedOut, ConnectionProblem],
    [Deno.errors.UnexpectedEof, ConnectionProblem],
    [Deno.errors.BadResource, ConnectionProblem],
  ];

/** One line that says what was thrown. */
export function messageOf(e: unknown): string {
  if (e instanceof Error) return e.message || e.name;
  return typeof e === "string" ? e : String(e);
}

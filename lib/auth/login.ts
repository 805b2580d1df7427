/**
 * Login with password and one-time code. Why it failed is for the audit log; the person learns
 * the same, and after the same time, whether the user exists or not.
 */
import type { AuditEmitter } from "../audit/events.ts";
import { EventCode } from "../audit/events.ts";
import type { UserCertificates } from "../api/types.ts";
import { AccessDenied, messageOf, TeleportError } from "../base/errors.ts";
import type { Clock } from "../base/clock.ts";
import type { SecondFactor, User } from "../resources/types.ts";
import type { Lockout } from "./lockout.ts";
import { lockedError, UserLocked } from "./lockout.ts";
import type { Passwords } from "./passwords.ts";
import type { Signer } from "./sign.ts";
import type { ResourceStore } from "./store.ts";
import type { OneTimeCodes } from "./totp.ts";
import type { Users } from "./users.ts";

export interface LoginRequest {
  user: string;
  password: string;
  code?: string | undefined;
  publicKey: string;
  tlsPublicKey?: string | undefined;
  ttlMs?: number | undefined;
  /** "host:port". */
  clientAddr: string;
}

export interface LoginsOptions {
  store: ResourceStore;
  clock: Clock;
  audit: AuditEmitter;
  users: Users;
  passwords: Passwords;
  codes: OneTimeCodes;
  lockout: Lockout;
  signer: Signer;
  secondFactor: SecondFactor;
}

export class Logins {
  constructor(private readonly o: LoginsOptions) {}

  /** @throws AccessDenied, UserLocked, LimitExceeded; BadParameter for a key or TTL of no use */
  async login(request: LoginRequest): Promise<UserCertificates> {
    try {
      const user = await this.#authenticate(request);
      const certificates = await this.o.signer.user({
        user,
        roles: await this.o.users.rolesOf(user),
        publicKey: request.publicKey,
        tlsPublicKey: request.tlsPublicKey,
        ttlMs: request.ttlMs,
        capped: true,
      });
      this.#emit(request, undefined);
      return certificates;
    } catch (e) {
      this.#emit(request, e);
      throw e instanceof WrongCredentials ? new AccessDenied(e.message) : e;
    }
  }

  async #authenticate(request: LoginRequest): Promise<User> {
    let why = "";
    const user = await this.o.lockout.guard(request.user, async () => {
      const checked = await this.#check(request);
      if (typeof checked !== "string") return checked;
      why = checked;
      return undefined;
    }, () => this.#emit(request, new WrongCredentials(why)));
    if (user === undefined) throw new WrongCredentials(why);
    const { is_locked, lock_expires } = user.spec.status;
    const untilMs = lock_expires === undefined ? Infinity : Date.parse(lock_expires);
    if (is_locked && untilMs > this.o.clock.now()) {
      throw lock_expires === undefined
        ? new AccessDenied(`user ${JSON.stringify(request.user)} is locked`)
        : lockedError(request.user, untilMs);
    }
    return user;
  }

  /** The user, or what was wrong. The password is hashed in every case. */
  async #check({ user: name, password, code }: LoginRequest): Promise<User | string> {
    const key = isStorable(name) ? name : "-";
    const user = await this.o.store.find("user", key);
    const right = await this.o.passwords.check(key, password);
    if (user === undefined || !right) {
      await this.o.codes.pretend(key, code ?? "");
      return user === undefined ? "unknown user" : "wrong password";
    }
    if (user.spec.expires !== undefined && Date.parse(user.spec.expires) <= this.o.clock.now()) {
      return "the user has expired";
    }
    if (this.o.secondFactor === "off") return user;
    // The code is looked at last, so that only who knows the password can use one up.
    switch (await this.o.codes.use(name, code ?? "")) {
      case "ok":
        return user;
      case "none":
        return "the user has no second factor";
      case "used":
        return "the one-time code was used before";
      case "wrong":
        return code ? "wrong one-time code" : "no one-time code";
    }
  }

  #emit(request: LoginRequest, error: unknown): void {
    const success = error === undefined;
    const why = error instanceof WrongCredentials ? error.why : messageOf(error);
    this.o.audit.emit({
      event: "user.login",
      code: success ? EventCode.UserLocalLogin : EventCode.UserLocalLoginFailure,
      user: request.user,
      success,
      method: "local",
      "addr.remote": request.clientAddr,
      ...(success ? {} : { error: why }),
      ...(error instanceof UserLocked ? { message: "user locked" } : {}),
    });
  }
}

/** What the person is told, and why it was, for the log. */
class WrongCredentials extends TeleportError {
  readonly code = "access_denied";

  constructor(readonly why: string) {
    super("invalid username or password");
  }
}

/** Anything else cannot be a user, and must not become part of a storage key. */
function isStorable(name: string): boolean {
  return /^[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,254}$/.test(name);
}

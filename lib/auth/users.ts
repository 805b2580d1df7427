/** Users: made by an administrator, completed by themselves through a one-time link. */
import type { AuditEmitter } from "../audit/events.ts";
import { EventCode } from "../audit/events.ts";
import type { SignupInfo, SignupLink } from "../api/types.ts";
import { AccessDenied, BadParameter, NotFound } from "../base/errors.ts";
import type { Clock } from "../base/clock.ts";
import { assertName, assertPrincipal, isNologinPrincipal } from "../cert/names.ts";
import { ADMIN_ROLE } from "../resources/roles.ts";
import type { Role, SecondFactor, User } from "../resources/types.ts";
import { assertLinkTtl, type InviteKind, type Invites } from "./invites.ts";
import type { Lockout } from "./lockout.ts";
import { assertPassword, type Passwords } from "./passwords.ts";
import { resourceFields } from "./resource_fields.ts";
import type { ResourceStore } from "./store.ts";
import { matchingStep, type OneTimeCodes, otpUri } from "./totp.ts";

export interface UsersOptions {
  store: ResourceStore;
  clock: Clock;
  audit: AuditEmitter;
  invites: Invites;
  passwords: Passwords;
  codes: OneTimeCodes;
  lockout: Lockout;
  cluster: string;
  secondFactor: SecondFactor;
}

export class Users {
  constructor(private readonly o: UsersOptions) {}

  /** With a link by which the user sets the password. @throws AlreadyExists, BadParameter, NotFound */
  async create(
    by: string,
    request: { name: string; logins?: string[]; roles?: string[]; ttlMs?: number },
  ): Promise<SignupLink> {
    const { name, logins = [name], roles = [ADMIN_ROLE] } = request;
    assertLinkTtl("invite", request.ttlMs);
    const user: User = {
      kind: "user",
      version: "v2",
      metadata: { name, namespace: "default", labels: {} },
      spec: {
        roles,
        traits: { logins },
        status: { is_locked: false },
        created_by: { time: this.#now(), user: { name: by } },
      },
    };
    await this.#check(user);
    await this.o.store.create(user);
    this.#emit("user.create", by, user);
    return await this.#link(by, name, "invite", request.ttlMs);
  }

  /** Password and second factor stop to work at once. @throws NotFound, BadParameter */
  async reset(by: string, name: string, ttlMs?: number): Promise<SignupLink> {
    await this.o.store.get("user", name);
    // First, so that a TTL that is refused changes nothing.
    const link = await this.#link(by, name, "reset", ttlMs);
    await this.#forgetCredentials(name);
    await this.o.lockout.reset(name);
    return link;
  }

  async update(
    by: string,
    name: string,
    change: { roles?: string[]; logins?: string[] },
  ): Promise<User> {
    const user = await this.o.store.change("user", name, async (user) => {
      if (change.roles !== undefined) user.spec.roles = change.roles;
      if (change.logins !== undefined) user.spec.traits.logins = change.logins;
      await this.#check(user);
    });
    this.#emit("user.update", by, user);
    return user;
  }

  /** From `tctl create`. @throws AlreadyExists unless `force` */
  async put(by: string, user: User, force: boolean): Promise<{ created: boolean }> {
    await this.#check(user);
    const existed = await this.o.store.find("user", user.metadata.name) !== undefined;
    if (existed && force) await this.o.store.put(user);
    else {
      user.spec.created_by ??= { time: this.#now(), user: { name: by } };
      await this.o.store.create(user);
    }
    this.#emit(existed ? "user.update" : "user.create", by, user);
    return { created: !existed };
  }

  /** With everything that belongs to the user. @throws NotFound */
  async delete(by: string, name: string): Promise<void> {
    const user = await this.o.store.get("user", name);
    await this.o.store.delete("user", name);
    await this.#forgetCredentials(name);
    await this.o.invites.deleteFor(name);
    await this.o.lockout.reset(name);
    this.#emit("user.delete", by, user);
  }

  /** As stored, with the lock that failed logins brought about. */
  async list(): Promise<User[]> {
    return await Promise.all((await this.o.store.list("user")).map((user) => this.withLock(user)));
  }

  async withLock(user: User): Promise<User> {
    const until = await this.o.lockout.lockedUntil(user.metadata.name);
    if (until === undefined) return user;
    const status = { ...user.spec.status, is_locked: true, lock_expires: isoTime(until) };
    return { ...user, spec: { ...user.spec, status } };
  }

  async signupInfo(token: string): Promise<SignupInfo> {
    const { user, kind, expires, otpSecret } = await this.o.invites.get(token);
    return {
      user,
      kind,
      expires,
      second_factor: this.o.secondFactor,
      ...(this.o.secondFactor === "otp" && {
        otp_uri: otpUri(user, this.o.cluster, otpSecret),
        otp_secret: otpSecret,
      }),
    };
  }

  /**
   * Sets password and second factor, and uses the link up: of two at once one gets through.
   * @throws NotFound for a link that does not work, BadParameter for a password that is too short,
   * AccessDenied for a wrong code; the link goes on to work after the last two
   */
  async completeSignup(
    request: { token: string; password: string; code?: string },
  ): Promise<{ user: string }> {
    const { otpSecret } = await this.o.invites.get(request.token);
    assertPassword(request.password);
    let step = -1;
    if (this.o.secondFactor === "otp") {
      const found = matchingStep(otpSecret, request.code ?? "", this.o.clock.now());
      if (found === undefined) {
        throw new AccessDenied(
          "the one-time code is wrong: type the one that your authenticator shows now, and check its clock",
        );
      }
      step = found;
    }
    const { user } = await this.o.invites.consume(request.token);
    // Deleted meanwhile: credentials of nobody must not wait for somebody of that name.
    await this.o.store.get("user", user);
    if (this.o.secondFactor === "otp") await this.o.codes.set(user, otpSecret, step);
    await this.o.passwords.set(user, request.password);
    await this.o.lockout.reset(user);
    this.o.audit.emit({
      event: "user.password_change",
      code: EventCode.UserPasswordChange,
      user,
    });
    return { user };
  }

  /** All roles of the user. @throws AccessDenied when one does not exist: it might have denied */
  async rolesOf(user: User): Promise<Role[]> {
    return await Promise.all(user.spec.roles.map(async (name) => {
      const role = await this.o.store.find("role", name);
      if (role !== undefined) return role;
      throw new AccessDenied(
        `user ${JSON.stringify(user.metadata.name)} has the role ${
          JSON.stringify(name)
        }, which does not exist; ask an administrator`,
      );
    }));
  }

  async #link(
    by: string,
    name: string,
    kind: InviteKind,
    ttlMs: number | undefined,
  ): Promise<SignupLink> {
    const link = await this.o.invites.create(name, kind, ttlMs);
    this.o.audit.emit({
      event: "reset_password_token.create",
      code: EventCode.ResetPasswordTokenCreate,
      user: by,
      ...resourceFields(name, by, link.expires, this.o.clock.now()),
    });
    return { user: name, ...link };
  }

  async #forgetCredentials(name: string): Promise<void> {
    await this.o.passwords.delete(name);
    await this.o.codes.delete(name);
  }

  async #check(user: User): Promise<void> {
    assertName(user.metadata.name, "user name");
    for (const login of user.spec.traits.logins ?? []) {
      if (isNologinPrincipal(login)) throw new BadParameter(`${login} cannot be a login`);
      assertPrincipal(login);
    }
    if (user.spec.roles.length === 0) throw new BadParameter("a user needs at least one role");
    for (const name of user.spec.roles) {
      if (await this.o.store.find("role", name) === undefined) {
        throw new NotFound(`role ${JSON.stringify(name)} is not found`);
      }
    }
  }

  #emit(event: "user.create" | "user.update" | "user.delete", by: string, user: User): void {
    const code = {
      "user.create": EventCode.UserCreate,
      "user.update": EventCode.UserUpdate,
      "user.delete": EventCode.UserDelete,
    }[event];
    this.o.audit.emit({
      event,
      code,
      user: by,
      ...resourceFields(
        user.metadata.name,
        by,
        user.metadata.expires ?? user.spec.expires,
        this.o.clock.now(),
      ),
      roles: user.spec.roles,
      connector: "local",
    });
  }

  #now(): string {
    return isoTime(this.o.clock.now());
  }
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}

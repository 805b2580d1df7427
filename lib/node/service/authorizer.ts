/** Who may log in to this node, and as whom: from the certificate, the roles and the labels. */
import { NodeAccess, type SessionOptions, sessionOptions } from "../../access/mod.ts";
import type { Clock } from "../../base/clock.ts";
import { AccessDenied, LimitExceeded } from "../../base/errors.ts";
import { log } from "../../base/log.ts";
import { printable } from "../../base/text.ts";
import { checkCertificate } from "../../cert/check.ts";
import { type UserIdentity, userIdentityOf } from "../../cert/identity.ts";
import type { ClusterCache } from "../../host/cache.ts";
import type { ConnectionLease, ConnectionLeases } from "../../host/connection_leases.ts";
import type { Labels, Role } from "../../resources/types.ts";
import type { AuthAttempt } from "../../ssh/server.ts";
import { checkLogin } from "../process/login_checks.ts";
import { lookUpUser, type OsUser } from "../process/os_user.ts";

/** Somebody who has been let in. */
export interface NodeUser {
  readonly identity: UserIdentity;
  readonly osUser: OsUser;
  readonly options: SessionOptions;
  /** Where the roles limit the number of connections. */
  readonly lease?: ConnectionLease;
}

export interface AuthorizerOptions {
  readonly cluster: string;
  readonly cache: Pick<ClusterCache, "authorities" | "get">;
  readonly labels: () => Labels;
  readonly clock: Clock;
  readonly leases: Pick<ConnectionLeases, "acquire">;
  /** Somebody has as many connections as the roles allow. */
  readonly onTooMany: (attempt: AuthAttempt, user: NodeUser) => void;
}

export class Authorizer {
  readonly #options: AuthorizerOptions;

  constructor(options: AuthorizerOptions) {
    this.#options = options;
  }

  /** @throws AccessDenied with what the user is to be told */
  async authenticate(attempt: AuthAttempt): Promise<NodeUser> {
    const identity = this.#identify(attempt);
    const login = attempt.username;
    const roles = this.#rolesOf(identity);
    const { allowed, reason } = new NodeAccess(roles, identity.traits)
      .decide({ login, labels: this.#options.labels() });
    if (!allowed) throw this.#denied(identity, login, reason);
    const osUser = await lookUpUser(login);
    await checkLogin(osUser, this.#options.clock.now());
    const user = { identity, osUser, options: sessionOptions(roles) };
    return user.options.maxConnections === 0 ? user : await this.#withLease(attempt, user);
  }

  /** @throws LimitExceeded, and AccessDenied when the connections cannot be counted */
  async #withLease(attempt: AuthAttempt, user: NodeUser): Promise<NodeUser> {
    try {
      const { identity, options: { maxConnections } } = user;
      return { ...user, lease: await this.#options.leases.acquire(identity.user, maxConnections) };
    } catch (error) {
      if (error instanceof LimitExceeded) this.#options.onTooMany(attempt, user);
      throw error;
    }
  }

  #identify(attempt: AuthAttempt): UserIdentity {
    if (!attempt.certificate) {
      throw new AccessDenied("a certificate of this cluster is needed here: run `tsh login`");
    }
    return userIdentityOf(checkCertificate(attempt.certificate, {
      type: "user",
      // Another cluster's roles mean nothing here, whatever they are called.
      authorities: this.#options.cache.authorities("user")
        .filter(({ cluster }) => cluster === this.#options.cluster),
      principal: attempt.username,
      address: attempt.remote.host,
      nowMs: this.#options.clock.now(),
      understood: { forceCommand: true },
    }));
  }

  /** A role that is not known may be the one that denies: without it there is no decision. */
  #rolesOf(identity: UserIdentity): Role[] {
    return identity.roles.map((name) => {
      const role = this.#options.cache.get("role", name);
      if (role) return role;
      throw new AccessDenied(
        `the role "${printable(name)}" of this certificate does not exist (any more): log in again`,
      );
    });
  }

  /** The reason is for the log: it would tell a stranger what the roles say. */
  #denied(identity: UserIdentity, login: string, reason: string): AccessDenied {
    const { cluster } = this.#options;
    log("node").info("Access was denied", { user: identity.user, login, reason });
    return new AccessDenied(
      `user ${identity.user}@${identity.cluster} is not authorized to login as ` +
        `${printable(login)}@${cluster}: access to server denied`,
    );
  }
}

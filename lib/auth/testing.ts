/** An Auth service on a memory backend and a clock that stands still. For tests. */
import { generateSync } from "otplib";
import type { ApiParams, ApiResult, MethodName } from "../api/contract.ts";
import { methods } from "../api/contract.ts";
import type { Caller } from "../api/types.ts";
import { AuditLog } from "../audit/audit_log.ts";
import type { EventName, StoredEvent } from "../audit/events.ts";
import { MemoryLog } from "../audit/memory_log.ts";
import { FakeClock } from "../base/clock.ts";
import { checkCertificate } from "../cert/check.ts";
import { userIdentityOf } from "../cert/identity.ts";
import type { Node, Role } from "../resources/types.ts";
import { adminRole } from "../resources/roles.ts";
import { parseCertificateLine } from "../sshwire/certificate.ts";
import { formatAuthorizedKey, generatePrivateKey } from "../sshwire/keys.ts";
import { MemoryBackend } from "../storage/memory.ts";
import { AuthService } from "./auth_service.ts";
import type { AuthSettings } from "./parts.ts";

export const CLUSTER = "test.example.com";
export const ADMIN: Caller = { kind: "admin", name: "builtin-Admin" };
export const NODE_ID = "11111111-1111-4111-8111-111111111111";
export const PROXY_ID = "22222222-2222-4222-8222-222222222222";
export const OTHER_ID = "33333333-3333-4333-8333-333333333333";
export const REMOTE = { host: "192.0.2.7", port: 40_000 };

export const userKey = generatePrivateKey();
export const userKeyLine = formatAuthorizedKey(userKey.publicKey);

const hostKey = generatePrivateKey().publicKey;

export function nodeCaller(hostId = NODE_ID): Caller {
  const host = { hostId, cluster: CLUSTER, key: hostKey, remote: REMOTE };
  return { kind: "node", roles: ["Node"], ...host };
}

export const PROXY: Caller = {
  kind: "proxy",
  hostId: PROXY_ID,
  cluster: CLUSTER,
  key: hostKey,
  roles: ["Proxy"],
  remote: REMOTE,
};

export const JOINING: Caller = { kind: "joining", key: hostKey, remote: REMOTE };

export interface TestAuth {
  service: AuthService;
  backend: MemoryBackend;
  clock: FakeClock;
  events: StoredEvent[];
  eventsOf(name: EventName): StoredEvent[];
  /** As the API server does it: checks the table, fills in defaults, calls the handler. */
  call<M extends MethodName>(
    caller: Caller,
    method: M,
    params: ApiParams<M>,
  ): Promise<ApiResult<M>>;
  /** A user with a password and an authenticator. */
  enrol(name: string, roles?: string[]): Promise<Person>;
  close(): Promise<void>;
}

export async function withAuth(
  body: (auth: TestAuth) => Promise<void>,
  settings: Partial<AuthSettings> = {},
): Promise<void> {
  const auth = await openAuth(settings);
  try {
    await body(auth);
  } finally {
    await auth.close();
  }
}

async function openAuth(settings: Partial<AuthSettings>): Promise<TestAuth> {
  const clock = new FakeClock(Date.UTC(2025, 0, 6, 12, 0, 10));
  const backend = new MemoryBackend({ clock });
  const sink = new MemoryLog();
  const audit = new AuditLog({ sink, clock });
  const directory = await Deno.makeTempDir({ prefix: "lib-auth-" });
  const service = await AuthService.open({
    recordingsDirectory: `${directory}/records`,
    backend,
    audit,
    clock,
    settings: { clusterName: CLUSTER, secondFactor: "otp", ...settings },
  });
  const call: TestAuth["call"] = async (caller, method, params) => {
    const parsed = methods[method].params.parse(params);
    const handler = service.api[method as "ping"] as unknown as (
      params: unknown,
      context: unknown,
    ) => Promise<never>;
    return await handler(parsed, { caller, signal: new AbortController().signal });
  };
  const enrol = async (name: string, roles?: string[]) => {
    const { token } = await call(ADMIN, "users.create", { name, ...(roles && { roles }) });
    const person = new Person(name, clock, call);
    const { otp_secret } = await call(PROXY, "signup.get", { token });
    person.secret = otp_secret ?? "";
    await call(PROXY, "signup.complete", {
      token,
      password: person.password,
      otp_token: person.code(),
    });
    // The code of this step is used up.
    clock.advance(30_000);
    return person;
  };
  return {
    service,
    backend,
    clock,
    events: sink.events,
    eventsOf: (name) => sink.events.filter(({ event }) => event === name),
    call,
    enrol,
    close: async () => {
      await service.close();
      await audit.close();
      await backend.close();
      await Deno.remove(directory, { recursive: true });
    },
  };
}

export class Person {
  password = "correct horse";
  /** Base32. */
  secret = "";

  constructor(
    readonly name: string,
    private readonly clock: FakeClock,
    private readonly call: TestAuth["call"],
  ) {}

  /** Of the step that is `steps` after the present one. */
  code(steps = 0): string {
    if (this.secret === "") return "";
    const epoch = Math.floor(this.clock.now() / 1000) + 30 * steps;
    return generateSync({ secret: this.secret, epoch });
  }

  login(over: Partial<ApiParams<"auth.login">> = {}): Promise<ApiResult<"auth.login">> {
    return this.call(PROXY, "auth.login", {
      user: this.name,
      password: this.password,
      otp_token: this.code(),
      public_key: userKeyLine,
      client_addr: "198.51.100.4:50000",
      ...over,
    });
  }
}

/** The caller that a user certificate makes. */
export function userCaller({ service, clock }: TestAuth, certificateLine: string): Caller {
  const checked = checkCertificate(parseCertificateLine(certificateLine), {
    type: "user",
    authorities: service.parts.authorities.trusted("user"),
    anyPrincipal: true,
    nowMs: clock.now(),
  });
  return { kind: "user", identity: userIdentityOf(checked), remote: REMOTE };
}

export function testNode(id: string, over: Partial<Node["spec"]> = {}, labels = {}): Node {
  return {
    kind: "node",
    version: "v2",
    metadata: { name: id, namespace: "default", labels },
    spec: {
      addr: "192.0.2.7:3022",
      hostname: "db-1",
      cmd_labels: {},
      use_tunnel: false,
      version: "0.1.0",
      ...over,
    },
  };
}

export function testRole(name: string, change: (role: Role) => void = () => {}): Role {
  const role = adminRole();
  role.metadata.name = name;
  change(role);
  return role;
}

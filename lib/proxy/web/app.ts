/** The proxy's HTTPS API: its routes, and what holds for each of them. */
import { type Context, Hono } from "hono";
import { LimitExceeded, NotFound } from "../../base/errors.ts";
import { log } from "../../base/log.ts";
import { formatAddr, type HostPort } from "../../base/net.ts";
import type { ApiParams, ApiResult } from "../../api/contract.ts";
import { readJson } from "./body.ts";
import { errorResponse } from "./errors.ts";
import { RateLimit } from "./rate_limit.ts";
import { certsResponse, parseCertsRequest, parseSignupRequest, signupResponse } from "./shapes.ts";

/** The calls that the web API makes to the auth service. */
export interface WebBackend {
  call<M extends "auth.login" | "signup.get" | "signup.complete">(
    method: M,
    params: ApiParams<M>,
    o?: { timeoutMs?: number },
  ): Promise<ApiResult<M>>;
  /** What `/webapi/ping` says. */
  ping(): Promise<Record<string, unknown>>;
  /** What `/webapi/find` says. */
  find(): Record<string, unknown>;
}

/** What Deno.serve knows of a request besides itself. */
interface Bindings {
  readonly client: HostPort;
}

/** Requests a second that one client may make where a password or a token is tried. */
const PASSWORD_RATE = 10;
/** Of these, at one moment and over all clients: each costs the auth service a password hash. */
const MAX_CONCURRENT_LOGINS = 64;
const AUTH_TIMEOUT_MS = 30_000;

const SECURITY_HEADERS: Record<string, string> = {
  "cache-control": "no-store",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
  "strict-transport-security": "max-age=31536000",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
};

type App = Hono<{ Bindings: Bindings }>;
type AppContext = Context<{ Bindings: Bindings }>;

/** Answers one request of the client at this address. */
export type WebHandler = (request: Request, client: HostPort) => Promise<Response>;

export function createWebHandler(backend: WebBackend, o: { rate?: RateLimit } = {}): WebHandler {
  const rate = o.rate ?? new RateLimit({ perSecond: PASSWORD_RATE });
  const app: App = new Hono<{ Bindings: Bindings }>();
  for (const base of ["/webapi", "/v1/webapi"]) addRoutes(app, base, backend, rate);
  app.notFound((c) =>
    errorResponse(new NotFound(`there is nothing at ${c.req.path.slice(0, 64)}`))
  );
  app.onError((error) => errorResponse(error));
  return async (request, client) => {
    const response = await app.fetch(request, { client });
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) response.headers.set(name, value);
    return response;
  };
}

function addRoutes(app: App, base: string, backend: WebBackend, rate: RateLimit): void {
  const limited = (c: AppContext) => rate.take(c.env.client.host);
  let logins = 0;
  route(app, `${base}/ping`, { GET: async () => await backend.ping() });
  route(app, `${base}/find`, { GET: () => backend.find() });
  route(app, `${base}/ssh/certs`, {
    POST: async (c) => {
      limited(c);
      const params = parseCertsRequest(await readJson(c.req.raw), formatAddr(c.env.client));
      if (logins >= MAX_CONCURRENT_LOGINS) {
        throw new LimitExceeded("too many people are logging in at this moment; try again");
      }
      logins++;
      try {
        const answer = await backend.call("auth.login", params, { timeoutMs: AUTH_TIMEOUT_MS });
        log("web").info("Logged in", { user: params.user, client: params.client_addr });
        return certsResponse(answer);
      } finally {
        logins--;
      }
    },
  });
  route(app, `${base}/users/password/token/:token`, {
    GET: async (c) => {
      limited(c);
      const token = c.req.param("token") ?? "";
      return signupResponse(await backend.call("signup.get", { token: token.slice(0, 512) }));
    },
  });
  route(app, `${base}/users/password/token`, {
    PUT: async (c) => {
      limited(c);
      const params = parseSignupRequest(await readJson(c.req.raw));
      return await backend.call("signup.complete", params, { timeoutMs: AUTH_TIMEOUT_MS });
    },
  });
}

type Handler = (c: AppContext) => unknown | Promise<unknown>;

/** A path with the methods it knows; any other is answered with 405 and their list. */
function route(app: App, path: string, handlers: { GET?: Handler; POST?: Handler; PUT?: Handler }) {
  for (const [method, handler] of Object.entries(handlers)) {
    app.on(method, path, async (c) => c.json(await handler(c) as object));
  }
  const allow = Object.keys(handlers).map((m) => m === "GET" ? "GET, HEAD" : m).join(", ");
  app.all(path, () =>
    Response.json(
      { error: { code: "bad_parameter", message: `only ${allow} is understood here` } },
      { status: 405, headers: { allow } },
    ));
}

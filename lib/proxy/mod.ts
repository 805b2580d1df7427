/** The proxy role: start it with {@linkcode startProxy}. */
export { proxyNames } from "./describe.ts";
export { type ProxyOptions, type ProxyService, startProxy } from "./service.ts";

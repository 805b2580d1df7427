import assert from "node:assert/strict";
import { adminRole } from "../resources/roles.ts";
import { type SessionOptions, sessionOptions } from "./options.ts";
import { role } from "./testing.ts";

const unset: SessionOptions = {
  maxSessionTtlMs: 30 * 3_600_000,
  forwardAgent: false,
  portForwarding: true,
  x11: false,
  certFormat: "standard",
  clientIdleTimeoutMs: 0,
  disconnectExpiredCert: false,
  maxConnections: 0,
  maxSessions: 0,
};

const cases: [name: string, options: string[], wanted: Partial<SessionOptions>][] = [
  ["an option that is not set has its default", ["{}"], {}],
  ["the least max_session_ttl wins", [
    "{max_session_ttl: 8h}",
    "{max_session_ttl: 1h30m}",
    "{max_session_ttl: 30h}",
  ], { maxSessionTtlMs: 5_400_000 }],
  ["a role without max_session_ttl counts with 30h", ["{max_session_ttl: 100h}", "{}"], {}],
  ["one role that forwards the agent is enough", ["{}", "{forward_agent: true}"], {
    forwardAgent: true,
  }],
  ["port forwarding goes away when every role says so", ["{port_forwarding: no}"], {
    portForwarding: false,
  }],
  ["port forwarding stays when one role leaves it", ["{port_forwarding: no}", "{}"], {}],
  ["one role that permits X11 is enough", ["{permit_x11_forwarding: yes}", "{}"], { x11: true }],
  ["one role with oldssh is enough", ["{cert_format: standard}", "{cert_format: oldssh}"], {
    certFormat: "oldssh",
  }],
  ["the least idle timeout that is not never wins", [
    "{client_idle_timeout: never}",
    "{client_idle_timeout: 1h}",
    "{client_idle_timeout: 10m}",
  ], { clientIdleTimeoutMs: 600_000 }],
  ["one role that disconnects is enough", ["{disconnect_expired_cert: yes}", "{}"], {
    disconnectExpiredCert: true,
  }],
  ["the least max_connections that is not 0 wins", [
    "{max_connections: 0}",
    "{max_connections: 5}",
    "{max_connections: 2}",
  ], { maxConnections: 2 }],
  ["the least max_sessions that is not 0 wins", ["{max_sessions: 10}", "{}"], { maxSessions: 10 }],
];

for (const [name, options, wanted] of cases) {
  Deno.test(`sessionOptions(): ${name}`, () => {
    const roles = options.map((each, i) => role(`r${i}`, `{options: ${each}}`));
    assert.deepEqual(sessionOptions(roles), { ...unset, ...wanted });
  });
}

Deno.test("sessionOptions(): without roles nothing is permitted", () => {
  assert.deepEqual(sessionOptions([]), { ...unset, portForwarding: false });
});

Deno.test("sessionOptions(): admin forwards agent, ports and X11 for 30 hours", () => {
  assert.deepEqual(sessionOptions([adminRole()]), { ...unset, forwardAgent: true, x11: true });
});

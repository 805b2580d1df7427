import assert from "node:assert/strict";
import { sessionStatus } from "./status.ts";

const session: Record<string, string> = {
  SSH_CLIENT: "10.0.10.1 43026 3022",
  USER: "root",
  SSH_TELEPORT_USER: "joe",
  SSH_SESSION_WEBPROXY_ADDR: "proxy:3080",
  SSH_TELEPORT_CLUSTER_NAME: "main",
  SSH_TELEPORT_HOST_UUID: "a3f67090",
  SSH_SESSION_ID: "cd908432",
};

Deno.test("sessionStatus() reads the session from the environment", () => {
  assert.deepEqual(sessionStatus((name) => session[name]), {
    user: "joe",
    login: "root",
    client: "10.0.10.1 43026 3022",
    cluster: "main",
    host_id: "a3f67090",
    session_id: "cd908432",
    session_url: "https://proxy:3080/web/cluster/main/node/a3f67090/root/cd908432",
  });
});

Deno.test("sessionStatus() gives nothing outside of a session", () => {
  assert.equal(sessionStatus((name) => name === "USER" ? "root" : undefined), undefined);
});

Deno.test("sessionStatus() disarms escape sequences somebody put into the environment", () => {
  const status = sessionStatus((name) => name === "USER" ? "\x1b]0;owned\x07" : session[name]);
  assert.equal(status?.login.includes("\x1b"), false);
  assert.equal(status?.login.includes("\x07"), false);
});

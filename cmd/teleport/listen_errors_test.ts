import assert from "node:assert/strict";
import { messageOf } from "../../lib/base/errors.ts";
import { explainListenError } from "./listen_errors.ts";

Deno.test("explainListenError() names the address and the key of the port that is in use", () => {
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const free = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = taken.addr;
  const freePort = free.addr.port;
  free.close();
  let thrown: unknown;
  try {
    Deno.listen({ hostname: "127.0.0.1", port });
  } catch (e) {
    thrown = new Error("the proxy cannot listen", { cause: e });
  }
  const explained = explainListenError(thrown, [
    { addr: `127.0.0.1:${freePort}`, key: "proxy_service.web_listen_addr" },
    { addr: `127.0.0.1:${port}`, key: "proxy_service.listen_addr" },
  ]);
  assert.match(
    messageOf(explained),
    new RegExp(
      `^cannot listen on 127\\.0\\.0\\.1:${port}: the port is in use.*or change proxy_service\\.listen_addr$`,
    ),
  );
});

Deno.test("explainListenError() leaves other errors as they are", () => {
  const error = new Error("something else");
  assert.equal(explainListenError(error, [{ addr: "127.0.0.1:1", key: "x" }]), error);
});

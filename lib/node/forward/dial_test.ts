import assert from "node:assert/strict";
import { BadParameter, ConnectionProblem } from "../../base/errors.ts";
import { dialTarget } from "./dial.ts";

const { signal } = new AbortController();

Deno.test("dialTarget() tries a name's addresses until one answers", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  // Nobody listens at the first two.
  const resolve = () => Promise.resolve(["127.0.0.3", "127.0.0.2", "127.0.0.1"]);
  const stream = await dialTarget({ host: "db", port }, { signal, resolve });
  assert.equal((stream.remoteAddr as Deno.NetAddr).hostname, "127.0.0.1");
  (await listener.accept()).close();
  stream.destroy();
});

Deno.test("dialTarget() says what it tried, or that there is nothing to try", async () => {
  const dial = (addresses: string[]) =>
    dialTarget({ host: "d\x1bb", port: 1 }, { signal, resolve: () => Promise.resolve(addresses) });
  await assert.rejects(
    dial(["127.0.0.2", "127.0.0.3"]),
    (error) =>
      error instanceof ConnectionProblem &&
      /^Cannot connect to 127\.0\.0\.2:1: .*; Cannot connect to 127\.0\.0\.3:1: /
        .test(error.message),
  );
  await assert.rejects(dial([]), /Cannot connect to d\\x1bb:1: this node knows no such host/);
});

Deno.test("dialTarget() refuses what is no target, and stops when the client has gone", async () => {
  const resolve = () => Promise.reject(new Error("not to be asked"));
  await assert.rejects(dialTarget({ host: "", port: 80 }, { signal, resolve }), BadParameter);
  await assert.rejects(dialTarget({ host: "db", port: 0 }, { signal, resolve }), BadParameter);
  const gone = new AbortController();
  const reason = new ConnectionProblem("the client has gone");
  gone.abort(reason);
  await assert.rejects(
    dialTarget({ host: "127.0.0.1", port: 80 }, { signal: gone.signal }),
    (error) => error === reason,
  );
});

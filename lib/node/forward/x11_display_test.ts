/** What a display does with xauth, by a program in its place. */
import assert from "node:assert/strict";
import { ConnectionProblem, NotFound } from "../../base/errors.ts";
import { dialTcp } from "../../ssh/stream.ts";
import { libc } from "../os/libc.ts";
import { poller } from "../os/poller.ts";
import { launchTestUser } from "../process/test_user.ts";
import { X11Display, type X11DisplayOptions } from "./x11_display.ts";

// Loaded for the life of the process, so not within a test.
libc();

const request = {
  singleConnection: false,
  protocol: "MIT-MAGIC-COOKIE-1",
  cookie: "00112233445566778899aabbccddeeff",
  screen: 2,
};

/** A display whose xauth is a script that runs in a directory of the test's. */
async function withDisplay(
  script: string,
  body: (display: X11Display, dir: string) => Promise<void>,
  change: Partial<X11DisplayOptions> = {},
): Promise<void> {
  const dir = Deno.makeTempDirSync({ prefix: "lib-node-x11-" });
  const xauth = `${dir}/xauth`;
  Deno.writeTextFileSync(xauth, `#!/bin/sh\ncd ${dir}\n${script}\n`, { mode: 0o755 });
  const display = new X11Display({
    user: { ...await launchTestUser(), home: dir },
    request,
    onConnection: (stream) => stream.end("client", () => stream.destroy()),
    xauth: [`${dir}/not-there`, xauth],
    ...change,
  });
  try {
    await body(display, dir);
  } finally {
    await display.close();
    await poller.idle();
    Deno.removeSync(dir, { recursive: true });
  }
}

Deno.test("the cookie goes to xauth by its stdin, where nobody else can see it", async () => {
  const script = 'echo "$@" >> args; cat >> input; env > env';
  await withDisplay(script, async (display, dir) => {
    assert.match(display.name, /^localhost:\d+\.2$/);
    const name = display.name.replace("localhost", "unix");
    await display.authorize();
    const add = `remove ${name}\nadd ${name} MIT-MAGIC-COOKIE-1 ${request.cookie}\n`;
    assert.equal(Deno.readTextFileSync(`${dir}/input`), add);
    assert.match(Deno.readTextFileSync(`${dir}/env`), new RegExp(`^HOME=${dir}$`, "m"));
    await display.close();
    await display.close();
    assert.equal(Deno.readTextFileSync(`${dir}/input`), `${add}remove ${name}\n`);
    assert.equal(Deno.readTextFileSync(`${dir}/args`), "-q -\n-q -\n");
  });
});

Deno.test("a display that xauth never heard of is not taken back from it", async () => {
  await withDisplay("touch called", async (display, dir) => {
    await display.close();
    assert.throws(() => Deno.statSync(`${dir}/called`), Deno.errors.NotFound);
  });
});

Deno.test("what xauth complains about is passed on, safe to read", async () => {
  await withDisplay("printf 'no \\033[31m space' >&2; exit 3", async (display) => {
    await assert.rejects(display.authorize(), (error) => {
      assert.ok(error instanceof ConnectionProblem);
      assert.equal(error.message, "xauth ended with status 3: no \\x1b[31m space");
      return true;
    });
  });
});

Deno.test("without xauth there is no display, and what is missing is said", async () => {
  const user = await launchTestUser();
  const onConnection = () => {};
  assert.throws(
    () => new X11Display({ user, request, onConnection, xauth: ["/not/there"] }),
    (error) => error instanceof NotFound && /has no xauth.*install it/.test(error.message),
  );
});

Deno.test("two sessions have two displays; a single connection is the last", async () => {
  await withDisplay("", async (first) => {
    await withDisplay("", async (second) => {
      const [a, b] = [first, second].map(({ name }) => 6000 + Number(/:(\d+)/.exec(name)![1]));
      assert.notEqual(a, b);
      (await dialTcp({ host: "127.0.0.1", port: a! })).destroy();
      (await dialTcp({ host: "127.0.0.1", port: a! })).destroy();
      const only = await dialTcp({ host: "127.0.0.1", port: b! });
      // Its accepting is what closes the port.
      await new Promise((resolve) => only.once("data", resolve));
      await assert.rejects(dialTcp({ host: "127.0.0.1", port: b! }), /refused/);
      only.destroy();
    }, { request: { ...request, singleConnection: true } });
  });
});

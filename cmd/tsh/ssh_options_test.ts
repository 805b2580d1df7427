import assert from "node:assert/strict";
import { UsageError } from "../../lib/cli/exit.ts";
import { parseSshOptions } from "./ssh_options.ts";

Deno.test("parseSshOptions() understands the options with an effect, in any case", () => {
  const warnings: string[] = [];
  const options = ["requesttty=force", "StrictHostKeyChecking no", "Port = 22", 'User="joe"'];
  assert.deepEqual(parseSshOptions(options, (text) => warnings.push(text)), {
    requestTty: "force",
    strictHostKeyChecking: "no",
    port: 22,
    user: "joe",
  });
  assert.deepEqual(warnings, []);
});

Deno.test("parseSshOptions() never weakens host key checking silently", () => {
  const parse = (value: string) => parseSshOptions([`StrictHostKeyChecking=${value}`], () => {});
  assert.equal(parse("accept-new").strictHostKeyChecking, "ask");
  assert.throws(() => parse("maybe"), UsageError);
});

Deno.test("parseSshOptions() warns about other options of ssh and refuses the rest", () => {
  const warnings: string[] = [];
  parseSshOptions(["ControlMaster=auto", "ForwardAgent no"], (text) => warnings.push(text));
  assert.deepEqual(warnings, ["Option 'ControlMaster' is not supported."]);
  for (const option of ["ForwardAgent=maybe", "Nonsense=1", "Port=0", "=x", "Port"]) {
    assert.throws(() => parseSshOptions([option], () => {}), UsageError, option);
  }
});

Deno.test("parseSshOptions() understands forwarding in the words of ssh_config", () => {
  const options = [
    ...["LocalForward=8080 db:80", "LocalForward [::1]:81   [::2]:82", "RemoteForward 0 web:80"],
    ...["DynamicForward=1080", "ForwardAgent yes", "ForwardX11=yes", "ForwardX11Trusted=no"],
    ...["ExitOnForwardFailure=yes", "ForwardX11Timeout=1m", "ServerAliveInterval 30"],
    ...[
      "ServerAliveCountMax=2",
      "SetEnv=LANG=C",
      'SetEnv "LC_A=two words" "LC_B=x y"',
      'SetEnv LC_C= LC_D="z"',
    ],
  ];
  assert.deepEqual(parseSshOptions(options, () => assert.fail("a warning")), {
    localForward: ["8080:db:80", "[::1]:81:[::2]:82"],
    remoteForward: ["0:web:80"],
    dynamicForward: ["1080"],
    forwardAgent: true,
    forwardX11: true,
    forwardX11Trusted: false,
    exitOnForwardFailure: true,
    forwardX11TimeoutMs: 60_000,
    serverAliveIntervalMs: 30_000,
    serverAliveCountMax: 2,
    setEnv: { LANG: "C", LC_A: "two words", LC_B: "x y", LC_C: "", LC_D: "z" },
  });
});

Deno.test("parseSshOptions() refuses values that mean nothing", () => {
  const values = [
    ...["ServerAliveInterval=soon", "ServerAliveInterval=999999", "ServerAliveCountMax=0"],
    ...["SetEnv=", "SetEnv=A", "SetEnv==b", 'SetEnv=A="x', "SetEnv=A=1 B", "ForwardX11=maybe"],
    "ExitOnForwardFailure=1",
  ];
  for (const option of values) {
    assert.throws(() => parseSshOptions([option], () => {}), UsageError, option);
  }
});

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
  parseSshOptions(["ControlMaster=auto", "ForwardAgent=no"], (text) => warnings.push(text));
  assert.deepEqual(warnings, ["Option 'ControlMaster' is not supported."]);
  for (const option of ["ForwardAgent=yes", "Nonsense=1", "Port=0", "=x", "Port"]) {
    assert.throws(() => parseSshOptions([option], () => {}), UsageError, option);
  }
});

import assert from "node:assert/strict";
import { parseScpCommand } from "./scp_command.ts";

Deno.test("parseScpCommand() tells uploads from downloads, with the path as it was written", () => {
  assert.deepEqual(parseScpCommand("scp -t /tmp/x"), {
    action: "upload",
    path: "/tmp/x",
    rest: " -t /tmp/x",
  });
  assert.deepEqual(parseScpCommand("scp -v -r -p -f -- '/a b'/*.txt"), {
    action: "download",
    path: "'/a b'/*.txt",
    rest: " -v -r -p -f -- '/a b'/*.txt",
  });
  assert.equal(parseScpCommand("scp -rpf dir")?.action, "download");
});

Deno.test("parseScpCommand() leaves other commands alone", () => {
  for (
    const command of ["scp", "scp a b", "scp -r a b", "scp -tf x", "scpx -t x", "ls -t x", "scp -t"]
  ) {
    assert.equal(parseScpCommand(command), undefined, command);
  }
});

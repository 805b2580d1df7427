import assert from "node:assert/strict";
import { parseScpCommand } from "../../host/scp_command.ts";
import { ownScp } from "./scp_command.ts";

Deno.test("ownScp() quotes the program and nothing of the client's words", () => {
  const scp = parseScpCommand("scp -f *.txt")!;
  assert.equal(ownScp(["/opt/it's/teleport"], scp), `'/opt/it'\\''s/teleport' 'scp' -f *.txt`);
});

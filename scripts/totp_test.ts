import assert from "node:assert/strict";
import { totpCode, totpStep } from "./totp.ts";

Deno.test("totpCode() gives the last six digits of RFC 6238's SHA-1 vectors", async () => {
  // "12345678901234567890" in base32, appendix B.
  const secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
  for (
    const [seconds, code] of [[59, "287082"], [1111111109, "081804"], [
      20000000000,
      "353130",
    ]] as const
  ) {
    assert.equal(await totpCode(secret, totpStep(seconds * 1000)), code);
  }
});

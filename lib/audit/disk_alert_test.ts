import assert from "node:assert/strict";
import { configureLog } from "../base/log.ts";
import { DiskAlert } from "./disk_alert.ts";

Deno.test("DiskAlert warns once at 90 percent, and again after there was room", async () => {
  const path = await Deno.makeTempFile();
  configureLog({ level: "warn", format: "json", output: path });
  try {
    let percent = 50;
    const alert = new DiskAlert("/var/log", () => Promise.resolve(percent));
    for (percent of [89.9, 90, 95, 89, 91, 87, 90.5, 99]) await alert.check();
    alert.close();
    const warnings = (await Deno.readTextFile(path)).trim().split("\n").map((l) => JSON.parse(l));
    assert.deepEqual(warnings.map(({ used }) => used), ["90 %", "90 %"]);
    assert.match(warnings[0].message, /nearly full/);
    assert.equal(warnings[0].path, "/var/log");
  } finally {
    configureLog({ level: "off", format: "text" });
    await Deno.remove(path);
  }
});

Deno.test("DiskAlert looks at a real disk, and at none without a fault", async () => {
  for (const path of ["/", "/no/such/path"]) {
    const alert = new DiskAlert(path);
    await alert.check();
    alert.close();
  }
});

/** What libsql_test.ts runs in processes of their own: `libsql_child.ts <url> <verb> [count]`. */

import { CompareFailed } from "../base/errors.ts";
import { openLibsql } from "./libsql.ts";

const [url = "", verb = "", count = "0"] = Deno.args;
const backend = await openLibsql({ url });

/** Unbuffered: what was printed was printed, even when this process is killed next. */
function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

switch (verb) {
  /** Writes until it is killed, and says each key once it was acknowledged. */
  case "write": {
    for (let i = 0;; i++) {
      const key = `/w/${i}`;
      await backend.put(key, JSON.stringify({ key, padding: "x".repeat(i % 2000) }));
      say(key);
    }
  }
  /** Adds 1 to a counter that others add to as well. */
  case "count": {
    let lost = 0;
    for (let i = 0; i < Number(count);) {
      const item = await backend.get("/counter");
      if (!item) throw new Error("no counter");
      try {
        const next = String(Number(item.value) + 1);
        await backend.compareAndSwap("/counter", { revision: item.revision }, next);
        i++;
      } catch (e) {
        if (!(e instanceof CompareFailed)) throw e;
        lost++;
      }
    }
    say(`lost ${lost}`);
    break;
  }
  case "put": {
    for (let i = 0; i < Number(count); i++) await backend.put(`/other/${i}`, `${i}`);
    break;
  }
  default:
    throw new Error(`unknown verb ${verb}`);
}
await backend.close();

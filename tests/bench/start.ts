import { Cluster } from "../harness/cluster.ts";
import { bin, must } from "../harness/run.ts";
import { compare, median, type Row, single, timed } from "./measure.ts";
import type { Bench } from "./setting.ts";

/** How long the binaries take to start. */
export async function* start(bench: Bench): AsyncGenerator<Row> {
  for (const [args, goal] of [[["version"], 60], [["status"], 0], [["ls"], 0]] as const) {
    const command = [bin("tsh"), ...args];
    yield await compare(`tsh ${args}`, "ms", 15, [{
      name: "ours",
      once: () => timed(() => must(command, { env: bench.env })),
    }], goal ? { atMost: goal } : undefined);
  }
  const fresh: number[] = [];
  const again: number[] = [];
  for (let round = 0; round < 5; round++) {
    const begun = performance.now();
    await using cluster = await Cluster.allInOne({ secondFactor: "off" });
    fresh.push(performance.now() - begun);
    await cluster.daemon("main").stop();
    again.push(await timed(() => cluster.restart("main")));
  }
  yield single("teleport start to ready, fresh data", "ms", median(fresh), { atMost: 1500 });
  yield single("teleport start to ready, existing data", "ms", median(again));
}

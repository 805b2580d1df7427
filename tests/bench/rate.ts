import { messageOf } from "../../lib/base/errors.ts";
import { say } from "../../scripts/progress.ts";
import { openCommand, ProxyLogin } from "./generator.ts";
import { percentile, type Row, single } from "./measure.ts";
import { pssMb } from "./processes.ts";
import type { Bench } from "./setting.ts";

const PER_SECOND = 50;
const SECONDS = 30;

/**
 * One-command sessions on schedule, whether or not the last ones have ended (an open loop), each
 * with its own connection to the proxy and to the node.
 */
export async function* rate(bench: Bench): AsyncGenerator<Row> {
  const daemon = bench.cluster.daemon("main").pid;
  const login = await ProxyLogin.of(bench);
  // What the first connections allocate for good is not the load's doing.
  for (let i = 0; i < 20; i++) await openCommand(login, "true");
  const before = pssMb([daemon]);
  const took: number[] = [];
  const failures = new Map<string, number>();
  const pending: Promise<void>[] = [];
  const begun = performance.now();
  for (let i = 0; i < PER_SECOND * SECONDS; i++) {
    const due = begun + i * 1000 / PER_SECOND;
    const wait = due - performance.now();
    if (wait > 0) await new Promise((done) => setTimeout(done, wait));
    // Counted from when it was due, so that a late start is not forgiven.
    pending.push(
      openCommand(login, "true").then(
        () => void took.push(performance.now() - due),
        (error) => {
          const reason = messageOf(error);
          failures.set(reason, (failures.get(reason) ?? 0) + 1);
        },
      ),
    );
  }
  await Promise.all(pending);
  for (const [reason, count] of failures) say("bench", `${count} failed: ${reason}`);
  const failed = failures.values().reduce((sum, count) => sum + count, 0);
  yield single(`${PER_SECOND} commands a second for ${SECONDS} s: failed`, "", failed, {
    atMost: 0,
  });
  yield single(`${PER_SECOND} commands a second: p50`, "ms", percentile(took, 50));
  yield single(`${PER_SECOND} commands a second: p99`, "ms", percentile(took, 99), { atMost: 200 });
  yield single(`${PER_SECOND} commands a second: slowest`, "ms", percentile(took, 100));
  await new Promise((done) => setTimeout(done, 10_000));
  yield single("daemon before the load, PSS", "MB", before);
  yield single("daemon 10 s after the load, PSS", "MB", pssMb([daemon]));
}

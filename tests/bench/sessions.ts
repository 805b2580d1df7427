import { type Row, single } from "./measure.ts";
import { cpuSeconds, pssMb, tree } from "./processes.ts";
import type { Bench } from "./setting.ts";
import { openShell, ProxyLogin } from "./generator.ts";

const COUNT = 200;
const IDLE_SECONDS = 10;

/** 200 PTY sessions opened at once through the proxy, then left alone, then closed. */
export async function* sessions(bench: Bench): AsyncGenerator<Row> {
  const daemon = bench.cluster.daemon("main").pid;
  const before = pssMb([daemon]);
  const login = await ProxyLogin.of(bench);
  const begun = performance.now();
  const opened = await Promise.allSettled(
    Array.from({ length: COUNT }, () => openShell(login)),
  );
  const seconds = (performance.now() - begun) / 1000;
  const shells = opened.flatMap((o) => o.status === "fulfilled" ? [o.value] : []);
  yield single("200 PTY sessions at once: opened", "of 200", shells.length, { atLeast: COUNT });
  yield single("200 PTY sessions at once: time until all answer", "s", seconds);
  yield single("200 PTY sessions: daemon and children, PSS", "MB", pssMb(tree([daemon])));
  yield single("200 PTY sessions: daemon alone, PSS", "MB", pssMb([daemon]));
  // The beginnings of their recordings are sent first.
  await new Promise((done) => setTimeout(done, 20_000));
  const cpu = cpuSeconds(daemon);
  await new Promise((done) => setTimeout(done, IDLE_SECONDS * 1000));
  yield single(
    "200 idle PTY sessions: CPU of the daemon",
    "% of a core",
    (cpuSeconds(daemon) - cpu) / IDLE_SECONDS * 100,
  );
  shells.forEach((shell) => shell.close());
  // Each session waits 20 s for the return of its owner.
  await new Promise((done) => setTimeout(done, 25_000));
  const after = pssMb([daemon]);
  yield single("daemon before the 200 sessions, PSS", "MB", before);
  yield single("daemon after the 200 sessions, PSS", "MB", after);
}

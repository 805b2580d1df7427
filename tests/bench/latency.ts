import { must } from "../harness/run.ts";
import { compare, type Row, timed } from "./measure.ts";
import type { Bench } from "./setting.ts";

const ROUNDS = 15;

/** Time of one whole command, from start to exit of the client. */
export async function* latency(bench: Bench): AsyncGenerator<Row> {
  const of = (name: string, argv: string[], env: Record<string, string> = {}) => ({
    name,
    once: () => timed(() => must([...argv, "true"], { env })),
  });
  yield await compare("ssh node true, direct", "ms", ROUNDS, [
    of("ours", bench.ssh("node")),
    of("sshd", bench.openssh.ssh("target")),
  ], { atMost: 0.3 });
  yield await compare("tsh ssh node true, through the proxy", "ms", ROUNDS, [
    of("ours", bench.tsh, bench.env),
    of("ssh -J", bench.openssh.ssh("jumped")),
  ], { atMost: 0.35 });
  yield await compare("stock ssh node true, through the proxy", "ms", ROUNDS, [
    of("ours", bench.ssh("jumped")),
    of("ssh -J", bench.openssh.ssh("jumped")),
  ]);
}

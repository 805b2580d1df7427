import { must } from "../harness/run.ts";
import { compare, type Row, timed } from "./measure.ts";
import type { Bench } from "./setting.ts";

const ROUNDS = 5;
const MIB = 512;

/** MB a second of 512 MiB through one command's output or input. */
export async function* throughput(bench: Bench): AsyncGenerator<Row> {
  const quote = (argv: string[]) => argv.map((word) => `'${word}'`).join(" ");
  const pipe = (script: string, env: Record<string, string>) => async () => {
    const ms = await timed(() => must(["sh", "-c", script], { env, timeoutMs: 180_000 }));
    return MIB * 1.048576 / (ms / 1000);
  };
  const down = (name: string, argv: string[], env: Record<string, string> = {}) => ({
    name,
    once: pipe(`${quote(argv)} 'head -c ${MIB}M /dev/zero' > /dev/null`, env),
  });
  const up = (name: string, argv: string[], env: Record<string, string> = {}) => ({
    name,
    once: pipe(`head -c ${MIB}M /dev/zero | ${quote(argv)} 'cat > /dev/null'`, env),
  });
  for (const [direction, of] of [["down", down], ["up", up]] as const) {
    yield await compare(`stock ssh to the node, ${direction}, aes128-gcm`, "MB/s", ROUNDS, [
      of("ours", bench.ssh("node")),
      of("sshd", bench.openssh.ssh("target")),
    ], { atLeast: 0.7 });
    yield await compare(`stock ssh through the proxy, ${direction}`, "MB/s", ROUNDS, [
      of("ours", bench.ssh("jumped")),
      of("ssh -J", bench.openssh.ssh("jumped")),
    ], { atLeast: 0.75 });
    yield await compare(`tsh ssh through proxy and node, ${direction}`, "MB/s", ROUNDS, [
      of("ours", bench.tsh, bench.env),
      of("ssh -J", bench.openssh.ssh("jumped")),
    ], { atLeast: 0.45 });
  }
}

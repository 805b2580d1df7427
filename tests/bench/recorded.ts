import { resolve } from "node:path";
import type { ClientChannel } from "../../lib/ssh/client.ts";
import { Cluster } from "../harness/cluster.ts";
import { eventually, must } from "../harness/run.ts";
import { ProxyLogin } from "./generator.ts";
import { compare, type Row, single, timed } from "./measure.ts";
import { Bench } from "./setting.ts";

const ROUNDS = 7;
const MB = 24;
/** As much text of random letters makes a recording of 100 MB. */
const BIG_MB = 96;
const KEYS = 200;
const PTY = { term: "xterm", cols: 80, rows: 24, widthPx: 0, heightPx: 0, modes: new Map() };

/** What recording costs: the same sessions in a cluster that records and in one that does not. */
export async function* recorded(bench: Bench): AsyncGenerator<Row> {
  await using cluster = await Cluster.allInOne({
    secondFactor: "off",
    auth: "session_recording: off",
  });
  await Deno.chmod(cluster.dir, 0o755);
  const off = await Bench.prepare(cluster, bench.openssh, bench.login);
  yield* output(bench, off);
  yield await echo(bench, off);
  yield* sizes(bench);
  yield await firstFrame(bench);
  yield await audience(bench);
}

/** MB a second that a program writes to its terminal. */
async function* output(bench: Bench, off: Bench): AsyncGenerator<Row> {
  const file = `${bench.cluster.dir}/text`;
  await must(["sh", "-c", `head -c ${MB * 3 / 4}M /dev/urandom | base64 > ${file}`]);
  await Deno.chmod(file, 0o644);
  const { size } = await Deno.stat(file);
  const of = (name: string, argv: string[]) => ({
    name,
    once: async () => {
      const [program = "", ...args] = argv;
      const line = [program, "-tt", ...args, `'cat ${file}'`].join(" ");
      const ms = await timed(() => must(["sh", "-c", `${line} > /dev/null < /dev/null`]));
      return size / 1e6 / (ms / 1000);
    },
  });
  yield await compare("output of a terminal, recorded against off", "MB/s", ROUNDS, [
    of("recorded", bench.ssh("node")),
    of("off", off.ssh("node")),
  ], { atLeast: 0.9 });
  yield await compare("output of a terminal, recorded, against sshd", "MB/s", ROUNDS, [
    of("ours", bench.ssh("node")),
    of("sshd", bench.openssh.ssh("target")),
  ]);
}

/** From a key that is pressed to its echo, through proxy and node. */
async function echo(bench: Bench, off: Bench): Promise<Row> {
  await using recorded = await Typist.of(bench);
  await using unrecorded = await Typist.of(off);
  return await compare("a key and its echo, recorded against off", "ms", KEYS, [
    { name: "recorded", once: () => recorded.press() },
    { name: "off", once: () => unrecorded.press() },
  ], { atMost: 1.1 });
}

/** What is left at auth of a session that prints much, and of one where nothing happens. */
async function* sizes(bench: Bench): AsyncGenerator<Row> {
  const kb = async (command: string) => (await record(bench, command)).bytes / 1000;
  yield single("recording of `seq 1 200000`", "kB", await kb("seq 1 200000"));
  yield single("recording of a minute in which nothing happens", "kB", await kb("sleep 60"));
}

/** From the start of `tsh play` to the first thing it shows. */
async function firstFrame(bench: Bench): Promise<Row> {
  const text = `head -c ${BIG_MB}M /dev/urandom | base64`;
  const [big, small] = [await record(bench, text), await record(bench, "echo short")];
  const of = (name: string, { id }: { id: string }) => ({
    name,
    once: () => firstOutput(`tsh play ${id}`, bench.env),
  });
  return await compare("first frame of a recording, 100 MB against 1 kB", "ms", ROUNDS, [
    of(`${(big.bytes / 1e6).toFixed(0)} MB`, big),
    of("1 kB", small),
  ]);
}

/** MB a second that reach a session's owner while others look on. */
async function audience(bench: Bench): Promise<Row> {
  const login = await ProxyLogin.of(bench);
  const once = (observers: number) => async () => {
    const owner = await login.connect();
    const channel = await owner.node.exec(`read go; head -c ${MB}M /dev/zero | tr '\\0' x`, {
      pty: PTY,
    });
    const { sid } = await eventually("the session to be known", async () => {
      const { stdout } = await bench.cluster.tctl(["sessions", "ls", "--format=json"]);
      return JSON.parse(stdout)[0] as { sid: string } | undefined;
    });
    const seats = await Promise.all(Array.from({ length: observers }, async () => {
      const seat = await login.connect();
      const env = { TELEPORT_SESSION: sid, TELEPORT_SESSION_JOIN_MODE: "observer" };
      const seen = await seat.node.shell({ pty: PTY, env });
      seen.stream.resume();
      seen.stderr.resume();
      return { seat, seen };
    }));
    const ms = await timed(async () => {
      channel.stream.resume();
      channel.stream.write("\n");
      await channel.exited;
    });
    await Promise.all(seats.map(({ seen }) => seen.exited));
    for (const { node, proxy } of [owner, ...seats.map(({ seat }) => seat)]) {
      node.close();
      proxy.close();
    }
    return MB * 1.048576 / (ms / 1000);
  };
  return await compare("output of a session, 20 observers against none", "MB/s", 3, [
    { name: "20 observers", once: once(20) },
    { name: "none", once: once(0) },
  ]);
}

/** Runs a command on a terminal; gives its recording when all of it is at auth. */
async function record(bench: Bench, command: string): Promise<{ id: string; bytes: number }> {
  const { node, proxy } = await (await ProxyLogin.of(bench)).connect();
  const channel = await node.exec(`echo "$SSH_SESSION_ID"; ${command}`, { pty: PTY });
  const decoder = new TextDecoder();
  let said = "";
  channel.stream.on("data", (chunk: Uint8Array) => {
    if (said.length < 100) said += decoder.decode(chunk);
  });
  await channel.exited;
  node.close();
  proxy.close();
  const id = said.split("\r\n", 1)[0]!;
  const bytes = await eventually(
    "the recording to be at auth",
    () => finishedSize(bench, id),
    300_000,
  );
  return { id, bytes };
}

/** Milliseconds from the start of a command line on a terminal until it shows something. */
async function firstOutput(line: string, env: Record<string, string>): Promise<number> {
  const begun = performance.now();
  const child = new Deno.Command("script", {
    args: ["-qfc", line, "/dev/null"],
    env: { ...env, TERM: "xterm", PATH: `${resolve("bin")}:${Deno.env.get("PATH")}` },
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const reader = child.stdout.getReader();
  await reader.read();
  const ms = performance.now() - begun;
  child.kill();
  await reader.cancel();
  await child.stdin.close();
  await child.status;
  return ms;
}

/** The size in bytes of a recording that is at auth as a whole. */
async function finishedSize(bench: Bench, id: string): Promise<number | undefined> {
  const path = `${bench.cluster.dir}/main/log/records/${id}.json`;
  const info = JSON.parse(await Deno.readTextFile(path));
  return info.finished ? info.size : undefined;
}

/** Somebody who presses one key after the other in a session of their own. */
class Typist implements AsyncDisposable {
  #arrived = () => {};

  private constructor(
    private readonly channel: ClientChannel,
    private readonly close: () => void,
  ) {
    channel.stream.on("data", () => this.#arrived());
    channel.stderr.resume();
  }

  static async of(bench: Bench): Promise<Typist> {
    const { node, proxy } = await (await ProxyLogin.of(bench)).connect();
    const channel = await node.exec("cat > /dev/null", { pty: PTY });
    return new Typist(channel, () => {
      node.close();
      proxy.close();
    });
  }

  /** Milliseconds until the key's echo is here. */
  press(): Promise<number> {
    return timed(() =>
      new Promise<void>((done) => {
        this.#arrived = done;
        this.channel.stream.write("x");
      })
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.close();
    return Promise.resolve();
  }
}

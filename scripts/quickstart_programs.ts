/** Runs teleport, tctl and tsh for the quickstart, and shows what it types. */
import { join } from "node:path";
import { ScriptError } from "./progress.ts";
import { saveState, type State, totpForNow } from "./quickstart_state.ts";

export interface RunningDaemon extends AsyncDisposable {
  /** Rejects when the daemon ends before it was told to. */
  readonly unexpectedEnd: Promise<never>;
}

const decoder = new TextDecoder();
const encoder = new TextEncoder();

export class Programs {
  readonly #bin: string;
  readonly #dir: string;
  readonly #state: State;
  #pin: string | undefined;

  constructor(bin: string, dir: string, state: State) {
    this.#bin = bin;
    this.#dir = dir;
    this.#state = state;
  }

  /** Writes the configuration and starts the daemon; resolves when it is ready. */
  async startDaemon(): Promise<RunningDaemon> {
    const log = join(this.#dir, "teleport.log");
    await Deno.writeTextFile(join(this.#dir, "teleport.yaml"), this.#configuration());
    const file = await Deno.open(log, { write: true, create: true, truncate: true, mode: 0o600 });
    // In a session of its own: Ctrl-C is for the quickstart, which then stops the daemon.
    const child = new Deno.Command("setsid", {
      args: [join(this.#bin, "teleport"), "start", "-c", join(this.#dir, "teleport.yaml")],
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    let stopping = false;
    const ready = Promise.withResolvers<void>();
    const follow = async (stream: ReadableStream<Uint8Array>) => {
      for await (const chunk of stream) {
        await file.write(chunk);
        if (decoder.decode(chunk).includes("Teleport is ready")) ready.resolve();
      }
    };
    const pumps = Promise.all([follow(child.stdout), follow(child.stderr)]);
    const unexpectedEnd = child.status.then(async (): Promise<never> => {
      await pumps;
      if (stopping) return await new Promise<never>(() => {});
      const lines = (await Deno.readTextFile(log)).trimEnd().split("\n");
      throw new ScriptError(`teleport ended: ${lines.at(-1)} (its log: ${log})`);
    });
    unexpectedEnd.catch(() => {});
    const timer = setTimeout(
      () => ready.reject(new ScriptError(`teleport is not ready after 60 s; its log: ${log}`)),
      60_000,
    );
    const stop = async () => {
      stopping = true;
      try {
        child.kill("SIGTERM");
      } catch {
        // It has ended already.
      }
      await child.status;
      await pumps;
      file.close();
    };
    try {
      await Promise.race([ready.promise, unexpectedEnd]);
    } catch (e) {
      await stop();
      throw e;
    } finally {
      clearTimeout(timer);
    }
    return { unexpectedEnd, [Symbol.asyncDispose]: stop };
  }

  /** Runs a program, shows its command line and its output; `lines` go to its stdin. */
  async show(name: "tctl" | "tsh", args: string[], lines: string[] = []): Promise<string> {
    const shown = args.map((arg) => /^[\w@%+=:,./-]+$/.test(arg) ? arg : `'${arg}'`).join(" ");
    Deno.stdout.writeSync(encoder.encode(`\n$ ${name} ${shown}\n`));
    const child = this.#spawn(name, args);
    const writer = child.stdin.getWriter();
    await writer.write(encoder.encode(lines.map((line) => `${line}\n`).join("")));
    await writer.close();
    let output = "";
    const copy = async (stream: ReadableStream<Uint8Array>) => {
      for await (const chunk of stream) {
        output += decoder.decode(chunk);
        Deno.stdout.writeSync(chunk);
      }
    };
    await Promise.all([copy(child.stdout), copy(child.stderr)]);
    const { code } = await child.status;
    if (code !== 0) throw new ScriptError(`${name} ${args[0]} failed with status ${code}`);
    return output;
  }

  /** Completes the invitation as a person would: password twice, secret into the authenticator, code. */
  async signUp(link: string): Promise<void> {
    const state = this.#state;
    Deno.stdout.writeSync(encoder.encode(`\n$ tsh signup ${link}\n`));
    const child = this.#spawn("tsh", ["signup", `--ca-pin=${await this.caPin()}`, link]);
    const writer = child.stdin.getWriter();
    await writer.write(encoder.encode(`${state.password}\n${state.password}\n`));
    let output = "";
    let answered: Promise<void> | undefined;
    const answer = async (secret: string) => {
      state.otpSecret = secret;
      await writer.write(encoder.encode(`${await totpForNow(state)}\n`));
      await writer.close();
    };
    const listen = async (stream: ReadableStream<Uint8Array>) => {
      for await (const chunk of stream) {
        output += decoder.decode(chunk);
        Deno.stdout.writeSync(chunk);
        const secret = output.match(/\b[A-Z2-7]{32}\b/)?.[0];
        if (secret) answered ??= answer(secret);
      }
    };
    await Promise.all([listen(child.stdout), listen(child.stderr)]);
    await answered;
    if (!(await child.status).success) throw new ScriptError("tsh signup failed");
    state.enrolled = true;
    await saveState(state);
  }

  async isLoggedIn(): Promise<boolean> {
    const child = this.#spawn("tsh", ["status"]);
    await child.stdin.close();
    return (await child.output()).success;
  }

  async caPin(): Promise<string> {
    if (this.#pin !== undefined) return this.#pin;
    const child = this.#spawn("tctl", ["status"]);
    await child.stdin.close();
    const pin = decoder.decode((await child.output()).stdout).match(/sha256:[0-9a-f]{64}/)?.[0];
    if (pin === undefined) throw new ScriptError("tctl status printed no CA pin");
    return this.#pin = pin;
  }

  #spawn(name: "tctl" | "tsh", args: string[]): Deno.ChildProcess {
    const { ports, user } = this.#state;
    const all = name === "tctl" ? ["-c", join(this.#dir, "teleport.yaml"), ...args] : args;
    return new Deno.Command(join(this.#bin, name), {
      args: all,
      env: {
        TELEPORT_HOME: join(this.#dir, "tsh"),
        TELEPORT_PROXY: `localhost:${ports.web},${ports.proxySsh}`,
        TELEPORT_USER: user,
      },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  }

  #configuration(): string {
    const { ports, cluster, nodename } = this.#state;
    return `# Written by scripts/quickstart at each start.
teleport:
  nodename: ${nodename}
  data_dir: ${this.#dir}/data
  pid_file: ${this.#dir}/teleport.pid
auth_service:
  enabled: yes
  cluster_name: ${cluster}
  listen_addr: 127.0.0.1:${ports.auth}
proxy_service:
  enabled: yes
  listen_addr: 127.0.0.1:${ports.proxySsh}
  web_listen_addr: 127.0.0.1:${ports.web}
  public_addr: localhost:${ports.web}
ssh_service:
  enabled: yes
  listen_addr: 127.0.0.1:${ports.node}
  labels:
    env: quickstart
`;
  }
}

/** What a quickstart keeps between its runs, in its own directory: ports, password, second factor. */
import { join } from "node:path";
import { ScriptError } from "./progress.ts";
import { totpCode, totpStep } from "./totp.ts";

export interface Ports {
  auth: number;
  proxySsh: number;
  web: number;
  node: number;
}

const defaultPorts: Ports = { auth: 3025, proxySsh: 3023, web: 3080, node: 3022 };

export interface State {
  readonly dir: string;
  readonly user: string;
  readonly cluster: string;
  readonly nodename: string;
  readonly password: string;
  ports: Ports;
  /** Base32; empty until the sign-up has shown it. */
  otpSecret: string;
  /** Number of the last TOTP step whose code was used: a code is good once. */
  lastStep: number;
  enrolled: boolean;
}

/** The state of an earlier run in `dir`, with ports that are free now, or a new one. */
export async function loadState(dir: string): Promise<State> {
  await Deno.mkdir(dir, { recursive: true, mode: 0o700 });
  await Deno.chmod(dir, 0o700);
  await refuseSecondRun(dir);
  const known = await readState(dir);
  const ports = { ...known?.ports ?? defaultPorts };
  for (const name of Object.keys(ports) as (keyof Ports)[]) {
    if (!isFree(ports[name])) ports[name] = freePort();
  }
  const state: State = known ? { ...known, dir, ports } : {
    dir,
    user: await currentUser(),
    cluster: "quickstart",
    nodename: "my-node",
    password: crypto.randomUUID().slice(0, 18),
    ports,
    otpSecret: "",
    lastStep: 0,
    enrolled: false,
  };
  await saveState(state);
  return state;
}

export async function saveState(state: State): Promise<void> {
  const path = statePath(state.dir);
  await Deno.writeTextFile(`${path}.new`, JSON.stringify(state, null, 2) + "\n", { mode: 0o600 });
  await Deno.rename(`${path}.new`, path);
}

/** A code that was not used yet; waits for the next step when this one's and the next one's were. */
export async function totpForNow(state: State): Promise<string> {
  const wait = (state.lastStep - 1) * 30_000 - Date.now();
  if (wait > 0) await new Promise((done) => setTimeout(done, wait));
  // One step to the past and one to the future are accepted.
  const step = Math.max(totpStep(Date.now()) - 1, state.lastStep + 1);
  state.lastStep = step;
  await saveState(state);
  return await totpCode(state.otpSecret, step);
}

async function readState(dir: string): Promise<State | undefined> {
  try {
    return JSON.parse(await Deno.readTextFile(statePath(dir))) as State;
  } catch (e) {
    if (e instanceof Deno.errors.NotFound) return undefined;
    throw new ScriptError(`${statePath(dir)} is damaged; remove ${dir} to begin anew`);
  }
}

function statePath(dir: string): string {
  return join(dir, "quickstart.json");
}

/** Two daemons on one data directory would spoil each other's work. */
async function refuseSecondRun(dir: string): Promise<void> {
  const text = await Deno.readTextFile(join(dir, "teleport.pid")).catch(() => "");
  const pid = Number(text);
  if (!pid) return;
  const name = await Deno.readTextFile(`/proc/${pid}/comm`).catch(() => "");
  if (name.trim() !== "teleport") return;
  throw new ScriptError(
    `a quickstart runs in ${dir} already (process ${pid}); stop it, or name another directory`,
  );
}

async function currentUser(): Promise<string> {
  const { stdout } = await new Deno.Command("id", { args: ["-un"] }).output();
  return new TextDecoder().decode(stdout).trim();
}

function isFree(port: number): boolean {
  try {
    Deno.listen({ hostname: "127.0.0.1", port }).close();
    return true;
  } catch {
    return false;
  }
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

import type { Cluster } from "./cluster.ts";
import { eventually, must } from "./run.ts";

/** A recording as it lies at the auth server, and what is known of it there. */
export interface StoredRecording {
  sid: string;
  user: string;
  finished: boolean;
  torn: boolean;
  participants: string[];
  duration_ms?: number;
  sha256?: string;
}

export type CastLine = [time: number, code: string, data: string];

/** The recordings of a cluster, on the auth server's disk. */
export class Recordings {
  constructor(readonly cluster: Cluster) {}

  get directory(): string {
    const key = this.cluster.daemons.has("auth") ? "auth" : "main";
    return `${this.cluster.dir}/${key}/log/records`;
  }

  async list(): Promise<StoredRecording[]> {
    const found: StoredRecording[] = [];
    for await (const { name } of Deno.readDir(this.directory)) {
      if (!name.endsWith(".json")) continue;
      found.push(JSON.parse(await Deno.readTextFile(`${this.directory}/${name}`)));
    }
    return found;
  }

  /** Waits until auth has all of a recording. */
  async finished(sid: string, timeoutMs = 30_000): Promise<StoredRecording> {
    return await eventually(
      `the recording ${sid} to be at auth`,
      async () => (await this.list()).find((each) => each.sid === sid && each.finished),
      timeoutMs,
    );
  }

  /** Header and events, read by the system's own `zcat`. */
  async read(sid: string): Promise<{ header: Record<string, unknown>; events: CastLine[] }> {
    const { stdout } = await must(["zcat", `${this.directory}/${sid}.cast.gz`]);
    const [first, ...lines] = stdout.trimEnd().split("\n");
    return { header: JSON.parse(first!), events: lines.map((line) => JSON.parse(line)) };
  }

  /** What the session showed. */
  async output(sid: string): Promise<string> {
    const { events } = await this.read(sid);
    return events.filter(([, code]) => code === "o").map(([, , text]) => text).join("");
  }
}

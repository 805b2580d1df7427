import assert from "node:assert/strict";
import type { ActiveSession, WatchEvent } from "../api/types.ts";
import { AccessDenied } from "../base/errors.ts";
import { configureLog } from "../base/log.ts";
import { SessionReports } from "./session_reports.ts";

configureLog({ level: "off", format: "text" });

function session(sid: string): ActiveSession {
  return {
    sid,
    user: "alice",
    roles: [],
    login: "root",
    server_id: "",
    server_hostname: "",
    server_addr: "",
    started: "",
    cols: 80,
    rows: 24,
    interactive: true,
    parties: [],
    recording: "off",
  };
}

/** The auth service, as far as these reports go. */
class FakeAuth {
  readonly heard: string[][] = [];
  readonly watches: ((event: WatchEvent) => void)[] = [];
  /** Thrown at the next report. */
  error: Error | undefined;
  #wake: () => void = () => {};

  /** Resolves when it has heard that many reports. */
  async hears(count: number): Promise<void> {
    while (this.heard.length < count) await new Promise<void>((resolve) => this.#wake = resolve);
  }

  async watched(count: number): Promise<(event: WatchEvent) => void> {
    while (this.watches.length < count) await new Promise<void>((resolve) => this.#wake = resolve);
    return this.watches[count - 1]!;
  }

  get connection(): ConstructorParameters<typeof SessionReports>[0]["auth"] {
    return {
      call: (_: string, params: { sessions: ActiveSession[] }) => {
        const { error } = this;
        this.error = undefined;
        this.heard.push(error ? ["refused"] : params.sessions.map(({ sid }) => sid));
        this.#wake();
        return error ? Promise.reject(error) : Promise.resolve({});
      },
      api: () =>
        Promise.resolve({
          watch: (_: unknown, { signal }: { signal: AbortSignal }) => this.#watch(signal),
        }),
    } as unknown as ConstructorParameters<typeof SessionReports>[0]["auth"];
  }

  async *#watch(signal: AbortSignal): AsyncGenerator<WatchEvent> {
    const queue: WatchEvent[] = [];
    let wake = () => {};
    this.watches.push((event) => {
      queue.push(event);
      wake();
    });
    this.#wake();
    signal.addEventListener("abort", () => wake());
    while (!signal.aborted) {
      const event = queue.shift();
      if (event?.type === "init") return;
      if (event) yield event;
      else await new Promise<void>((resolve) => wake = resolve);
    }
  }
}

Deno.test("nothing is reported without sessions; a change is reported once, also the last one", async () => {
  const auth = new FakeAuth();
  let sessions: ActiveSession[] = [];
  const reports = new SessionReports({
    auth: auth.connection,
    list: () => sessions,
    end: () => {},
    intervalMs: 3_600_000,
  });
  reports.changed();
  sessions = [session("a")];
  reports.changed();
  await auth.hears(1);
  sessions = [session("a"), session("b")];
  reports.changed();
  await auth.hears(2);
  sessions = [];
  reports.changed();
  reports.changed();
  await auth.hears(3);
  reports.changed();
  await reports.close();
  assert.deepEqual(auth.heard, [["a"], ["a", "b"], []]);
});

Deno.test("sessions are reported again and again, and after a failure", async () => {
  const auth = new FakeAuth();
  auth.error = new AccessDenied("the test says so");
  const reports = new SessionReports({
    auth: auth.connection,
    list: () => [session("a")],
    end: () => {},
    intervalMs: 1,
  });
  await auth.hears(3);
  await reports.close();
  assert.deepEqual(auth.heard.slice(0, 3), [["refused"], ["a"], ["a"]]);
});

Deno.test("orders to end a session are followed, also by a second watch", async () => {
  const auth = new FakeAuth();
  const ended: string[][] = [];
  const third = Promise.withResolvers<void>();
  const reports = new SessionReports({
    auth: auth.connection,
    list: () => [],
    end: (sid, by, reason = "") => {
      ended.push([sid, by, reason]);
      if (ended.length === 3) third.resolve();
    },
  });
  const first = await auth.watched(1);
  first({ type: "delete", kind: "session", name: "a", by: "admin", reason: "x" });
  first({ type: "delete", kind: "role", name: "b" });
  first({ type: "delete", kind: "session", name: "c" });
  // Its end, as when the connection breaks.
  first({ type: "init" });
  const second = await auth.watched(2);
  second({ type: "delete", kind: "session", name: "d", by: "admin" });
  await third.promise;
  await reports.close();
  assert.deepEqual(ended, [["a", "admin", "x"], ["c", "an administrator", ""], ["d", "admin", ""]]);
  assert.deepEqual(auth.heard, []);
});

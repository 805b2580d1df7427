import assert from "node:assert/strict";
import { AccessDenied, ConnectionProblem, LimitExceeded } from "../base/errors.ts";
import { ConnectionLeases } from "./connection_leases.ts";

/** An auth service that counts; `away` makes every call fail. */
class Counter {
  readonly leases = new Map<string, string>();
  readonly calls: string[] = [];
  away = false;
  #waiting: { method: string; resolve: () => void }[] = [];

  // deno-lint-ignore no-explicit-any -- stands for any method of the API
  readonly call = (method: any, params: any): Promise<any> => {
    this.calls.push(method);
    this.#waiting = this.#waiting.filter((each) => {
      if (each.method !== method) return true;
      queueMicrotask(each.resolve);
      return false;
    });
    if (this.away) return Promise.reject(new ConnectionProblem("away"));
    switch (method) {
      case "connections.acquire":
        if ([...this.leases.values()].filter((user) => user === params.user).length >= params.max) {
          return Promise.reject(
            new LimitExceeded(
              `too many concurrent ssh connections for user "${params.user}" (max=${params.max})`,
            ),
          );
        }
        this.leases.set(params.lease, params.user);
        return Promise.resolve({ expires: "" });
      case "connections.renew":
        return Promise.resolve({
          lost: params.leases.map(({ lease }: { lease: string }) => lease)
            .filter((lease: string) => !this.leases.has(lease)),
        });
      default:
        this.leases.delete(params.lease);
        return Promise.resolve({});
    }
  };

  /** Resolves at the next call of the method. */
  next(method: string): Promise<void> {
    return new Promise((resolve) => this.#waiting.push({ method, resolve }));
  }
}

Deno.test("a lease is acquired, counts, and is given back once", async () => {
  const auth = new Counter();
  const leases = new ConnectionLeases({ auth, timeoutMs: () => 60_000 });
  const first = await leases.acquire("joe", 1);
  await assert.rejects(leases.acquire("joe", 1), (e: Error) => {
    assert.ok(e instanceof LimitExceeded);
    assert.equal(e.message, 'too many concurrent ssh connections for user "joe" (max=1)');
    return true;
  });
  first.hold(() => {});
  first.release();
  first.release();
  (await leases.acquire("joe", 1)).release();
  assert.equal(auth.calls.filter((c) => c === "connections.release").length, 2);
  leases.close();
});

Deno.test("without the auth service nobody whose connections are counted is let in", async () => {
  const auth = new Counter();
  auth.away = true;
  const leases = new ConnectionLeases({ auth, timeoutMs: () => 60_000 });
  await assert.rejects(leases.acquire("joe", 3), (e: Error) => {
    assert.ok(e instanceof AccessDenied);
    assert.match(e.message, /how many connections "joe" has \(max=3\): the auth service is out of/);
    return true;
  });
  // Should the lease have been given, it is taken back.
  assert.deepEqual(auth.calls, ["connections.acquire", "connections.release"]);
  leases.close();
});

Deno.test("leases are renewed; a connection whose lease is lost ends with the reason", async () => {
  const auth = new Counter();
  const leases = new ConnectionLeases({ auth, timeoutMs: () => 40 });
  const lease = await leases.acquire("joe", 1);
  const lost = new Promise<string>((resolve) => lease.hold(resolve));
  await auth.next("connections.renew");
  await auth.next("connections.renew");
  auth.leases.clear();
  assert.match(await lost, /does not count this connection any more/);
  lease.release();
  leases.close();
});

Deno.test("a connection ends when auth was out of reach for the cluster's session_control_timeout", async () => {
  const auth = new Counter();
  const leases = new ConnectionLeases({ auth, timeoutMs: () => 40 });
  const lease = await leases.acquire("joe", 1);
  auth.away = true;
  const reason = await new Promise<string>((resolve) => lease.hold(resolve));
  assert.match(reason, /the auth service was out of reach for .*, and the number of this user's/);
  leases.close();
});

import { Backoff, sleep } from "../base/backoff.ts";
import { log } from "../base/log.ts";
import { messageOf } from "../base/errors.ts";
import { type Backend, BackendClosed, type BackendEvent, type Item } from "./backend.ts";

/** `init`: everything that was there has been told, what follows are changes. */
export type FollowEvent = BackendEvent | { type: "init" };

const pageSize = 500;

/**
 * The items that begin with `prefix` as puts, then `init`, then every change, until `signal` is
 * aborted or the backend is closed. Where changes were missed the items are listed again, and what
 * has gone meanwhile is told as deleted; an item may thus be told twice, never an old one after a
 * new one.
 */
export async function* follow(
  backend: Backend,
  prefix: string,
  options: { signal?: AbortSignal } = {},
): AsyncGenerator<FollowEvent> {
  const backoff = new Backoff({ minMs: 100, maxMs: 10_000 });
  /** Newest revision told of each item: a watch that begins before the list repeats older ones. */
  const known = new Map<string, number>();
  let started = false;
  while (!options.signal?.aborted) {
    try {
      const after = await backend.revision();
      const gone = new Set(known.keys());
      for await (const item of pages(backend, prefix)) {
        gone.delete(item.key);
        known.set(item.key, item.revision);
        yield { type: "put", item };
      }
      for (const key of gone) {
        known.delete(key);
        yield { type: "delete", key, revision: after };
      }
      if (!started) yield { type: "init" };
      started = true;
      for await (const event of backend.watch(prefix, { ...options, after })) {
        backoff.reset();
        const { key, revision } = event.type === "put" ? event.item : event;
        if (revision <= (known.get(key) ?? 0)) continue;
        if (event.type === "put") known.set(key, revision);
        else known.delete(key);
        yield event;
      }
      return;
    } catch (e) {
      if (e instanceof BackendClosed) return;
      log("storage").warn("A watch is started anew", { prefix, reason: messageOf(e) });
      await sleep(backoff.next(), options.signal).catch(() => {});
    }
  }
}

async function* pages(backend: Backend, prefix: string): AsyncGenerator<Item> {
  let after: string | undefined;
  while (true) {
    const page = await backend.range(prefix, {
      limit: pageSize,
      ...(after === undefined ? {} : { after }),
    });
    yield* page;
    after = page.at(-1)?.key;
    if (page.length < pageSize) return;
  }
}

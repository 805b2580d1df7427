import { Backoff, sleep } from "../base/backoff.ts";
import { log } from "../base/log.ts";
import { messageOf } from "../base/errors.ts";
import type { Backend, BackendEvent, Item } from "./backend.ts";

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
  const known = new Set<string>();
  let started = false;
  while (!options.signal?.aborted) {
    try {
      const after = await backend.revision();
      const gone = new Set(known);
      for await (const item of pages(backend, prefix)) {
        gone.delete(item.key);
        known.add(item.key);
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
        if (event.type === "put") known.add(event.item.key);
        else known.delete(event.key);
        yield event;
      }
      return;
    } catch (e) {
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

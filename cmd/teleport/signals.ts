/** Ends the daemon on a signal: the first one in good order, the second one at once. */
import { log } from "../../lib/base/log.ts";

const stopping: readonly Deno.Signal[] = ["SIGTERM", "SIGINT", "SIGHUP"];

export interface StopSignal {
  /** Resolves with the name of the first signal. */
  readonly arrived: Promise<Deno.Signal>;
  [Symbol.dispose](): void;
}

/** Listens until it is disposed of. The second signal ends the process with 128 + its number. */
export function onStopSignal(): StopSignal {
  const { promise, resolve } = Promise.withResolvers<Deno.Signal>();
  const numbers: Partial<Record<Deno.Signal, number>> = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 };
  let first = true;
  const listeners = stopping.map((signal) => {
    const listener = () => {
      if (!first) Deno.exit(128 + (numbers[signal] ?? 0));
      first = false;
      log("process").info(`Got ${signal}, stopping; once more stops at once`);
      resolve(signal);
    };
    Deno.addSignalListener(signal, listener);
    return { signal, listener };
  });
  return {
    arrived: promise,
    [Symbol.dispose]() {
      for (const { signal, listener } of listeners) Deno.removeSignalListener(signal, listener);
    },
  };
}

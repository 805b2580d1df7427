import type { ApiResult, MethodName, ParsedParams } from "./contract.ts";
import type { Caller, WatchEvent, WatchKind } from "./types.ts";

export interface CallContext {
  readonly caller: Caller;
  /** Aborted when the caller's connection is gone. */
  readonly signal: AbortSignal;
}

type Unary = Exclude<MethodName, "watch" | "watch.stop">;

/**
 * What stands behind the API: one handler a method. The server has already checked that the
 * caller's kind may call it and that the parameters are well formed; everything that depends on
 * who exactly calls is the handler's.
 */
export type ApiService =
  & {
    [M in Unary]: (
      params: ParsedParams<M>,
      context: CallContext,
    ) => ApiResult<M> | Promise<ApiResult<M>>;
  }
  & {
    /**
     * Batches of events until `signal` is aborted. An error ends the watch and goes to the caller.
     * Resources are as the caller may see them.
     */
    watch(
      kinds: readonly (WatchKind | "session")[],
      context: CallContext,
    ): AsyncIterable<WatchEvent[]>;
  };

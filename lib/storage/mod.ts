/** Everything of lib/storage. The native library is loaded only when a file is opened. */

export { BackendClosed, WatchExpired } from "./backend.ts";
export type {
  Backend,
  BackendEvent,
  Item,
  RangeOptions,
  WatchOptions,
  WriteOptions,
} from "./backend.ts";
export { MemoryBackend } from "./memory.ts";
export { openBackend } from "./open.ts";
export type { StorageConfig } from "./open.ts";
export { follow } from "./follow.ts";
export type { FollowEvent } from "./follow.ts";

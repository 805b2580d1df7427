import { pathToFileURL } from "node:url";
import type { Clock } from "../base/clock.ts";
import type { Backend } from "./backend.ts";

/** As the configuration has it. */
export interface StorageConfig {
  type: "libsql";
  /** Of the database file; missing directories are made. */
  path: string;
}

/** @throws as openLibsql() */
export async function openBackend(config: StorageConfig, clock?: Clock): Promise<Backend> {
  const { openLibsql } = await import("./libsql.ts");
  return await openLibsql({ url: pathToFileURL(config.path).href, ...(clock ? { clock } : {}) });
}

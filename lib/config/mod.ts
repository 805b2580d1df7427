/** The daemon's configuration. */

export { DEFAULT_DATA_DIR, loadConfig } from "./load.ts";
export type { ConfigSources } from "./load.ts";
export { DEFAULT_CONFIG_FILE } from "./read_file.ts";
export { sampleConfig } from "./sample.ts";
export type {
  AuthConfig,
  Config,
  ConfigFlags,
  LogConfig,
  ProxyConfig,
  SshConfig,
} from "./types.ts";

/** What the audit log asks of its own past; answered by an index. No run-time dependency. */

export interface HistoryQuestion {
  readonly uids: readonly string[];
  readonly sids: readonly string[];
  readonly streams: readonly { host: string; stream: string }[];
}

export interface HistoryAnswer {
  /** Since when everything is known, milliseconds since 1970. */
  readonly sinceMs: number;
  /** Those of the uids that were stored, with the host that they are of. */
  readonly events: readonly { uid: string; event: string; host?: string }[];
  /** The node, and the proxy, that were the first to speak of the session. */
  readonly owners: readonly { sid: string; service: "node" | "proxy"; host: string }[];
  /** How far the numbers of these spools went. */
  readonly streams: readonly { host: string; stream: string; last: number }[];
}

export interface EventHistory {
  /**
   * Undefined when it cannot be known: the log goes on with what it remembers.
   * @throws ConnectionProblem while it is not known yet: ask again
   */
  lookUp(question: HistoryQuestion): Promise<HistoryAnswer | undefined>;
  /** Events were written. */
  wrote(): void;
}

/** Keeps the index of the audit log up to date and answers from it, off the main thread. */
import type { HistoryAnswer, HistoryQuestion } from "../audit/history.ts";
import { ConnectionProblem, type ErrorCode, messageOf, TeleportError } from "../base/errors.ts";
import type { EventPage, EventQuery } from "./event_search.ts";
import { EventIndexFile, type IndexFileOptions } from "./event_index_file.ts";

export type IndexRequest =
  /** @property isFresh what is there is of no use: make it anew */
  | { do: "open"; options: IndexFileOptions; isFresh: boolean }
  /** Something was written. */
  | { do: "advance" }
  | { do: "lookUp"; id: number; question: HistoryQuestion }
  | { do: "search"; id: number; query: EventQuery };

export type IndexReply =
  /** Everything that was there at the opening is indexed. */
  | { say: "ready" }
  /** The index cannot be used, and is closed; when it is damaged, it must be made anew. */
  | { say: "failed"; reason: string; isDamaged: boolean }
  | { say: "answer"; id: number; value: HistoryAnswer | EventPage }
  | { say: "error"; id: number; code: ErrorCode; message: string };

const scope = self as unknown as {
  onmessage: (event: MessageEvent<IndexRequest>) => void;
  postMessage(reply: IndexReply): void;
};

let index: EventIndexFile | undefined;
let isAdvancing = false;
let again = false;
let isReady = false;

scope.onmessage = async ({ data }) => {
  try {
    switch (data.do) {
      case "open":
        if (data.isFresh) EventIndexFile.remove(data.options.path);
        index = await EventIndexFile.open(data.options);
        return await advance();
      case "advance":
        return await advance();
      case "lookUp":
        return scope.postMessage({
          say: "answer",
          id: data.id,
          value: await opened().lookUp(data.question),
        });
      case "search":
        return scope.postMessage({
          say: "answer",
          id: data.id,
          value: await opened().search(data.query),
        });
    }
  } catch (e) {
    const isDamaged = damage(e, data.do === "open");
    if ("id" in data) {
      const code = e instanceof TeleportError ? e.code : "internal";
      scope.postMessage({ say: "error", id: data.id, code, message: messageOf(e) });
      // What was wrong with the question is no fault of the index.
      if (!isDamaged) return;
    }
    await fail(e, isDamaged);
  }
};

function opened(): EventIndexFile {
  if (index === undefined) throw new ConnectionProblem("the index of the audit log is not open");
  return index;
}

async function advance(): Promise<void> {
  again = true;
  if (isAdvancing || index === undefined) return;
  isAdvancing = true;
  try {
    while (again) {
      again = false;
      // Questions get their turn between two chunks.
      while (await index?.advance()) await new Promise((resolve) => setTimeout(resolve, 0));
    }
  } finally {
    isAdvancing = false;
  }
  if (isReady || index === undefined) return;
  isReady = true;
  scope.postMessage({ say: "ready" });
}

/** Nothing but a new one helps. */
function damage(e: unknown, isOpening: boolean): boolean {
  if (!(e instanceof TeleportError)) return false;
  const { code = "" } = (e.cause ?? {}) as { code?: string };
  if (/^SQLITE_(CORRUPT|NOTADB)/.test(code)) return true;
  // The file is another program's, of another version, or its pieces do not belong together.
  return isOpening && (e.code === "bad_parameter" || e.code === "internal");
}

async function fail(e: unknown, isDamaged: boolean): Promise<void> {
  await index?.close();
  index = undefined;
  isReady = false;
  scope.postMessage({ say: "failed", reason: messageOf(e), isDamaged });
}

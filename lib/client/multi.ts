/** One command on several nodes side by side, with their output kept apart. */
import { Writable } from "node:stream";
import type { Buffer } from "node:buffer";
import { concat } from "../base/bytes.ts";
import { messageOf } from "../base/errors.ts";
import type { SshClient } from "../ssh/client.ts";
import { runSession, type SessionEnd, statusOf } from "./node_session.ts";

export interface MultiNode {
  name: string;
  connect(): Promise<SshClient>;
}

export interface MultiOptions {
  nodes: readonly MultiNode[];
  command: string;
  /** Variables that the command is to have, as far as the nodes take them. */
  env?: Record<string, string> | undefined;
  /** What the sessions are offered besides: the agent. */
  agentForwarding?: boolean | undefined;
  stdout: Writable;
  stderr: Writable;
  /** The status of an error that kept the command from running. */
  statusOfError(e: unknown): number;
  /** Nodes at a time. */
  concurrency?: number;
}

export interface MultiResult {
  name: string;
  /** 0 when the command said so. */
  status: number;
  /** Why it is not 0, for people; undefined when it is. */
  reason?: string;
}

/**
 * Each line is printed whole, with the node's name in front. Resolves when all have ended, in the
 * order of `nodes`; never rejects.
 */
export async function runOnAll(options: MultiOptions): Promise<MultiResult[]> {
  const results: MultiResult[] = [];
  const waiting = [...options.nodes.entries()];
  const worker = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const [i, node] = next;
      results[i] = await runOn(node, options);
    }
  };
  await Promise.all(Array.from({ length: options.concurrency ?? 64 }, worker));
  return results;
}

/** 0 when all are 0, else the greatest. */
export function combinedStatus(results: readonly MultiResult[]): number {
  return Math.max(0, ...results.map((result) => result.status));
}

async function runOn(node: MultiNode, options: MultiOptions): Promise<MultiResult> {
  const { name } = node;
  try {
    const client = await node.connect();
    const stdout = prefixed(options.stdout, name);
    const stderr = prefixed(options.stderr, name);
    try {
      const { command, env, agentForwarding } = options;
      const exit = await runSession(client, {
        command,
        ...(env ? { env } : {}),
        ...(agentForwarding ? { agentForwarding } : {}),
        stdin: undefined,
        stdout,
        stderr,
      });
      await Promise.all([finish(stdout), finish(stderr)]);
      const status = statusOf(exit);
      return status === 0 ? { name, status } : { name, status, reason: describe(exit) };
    } finally {
      client.close();
    }
  } catch (e) {
    return { name, status: options.statusOfError(e), reason: messageOf(e) };
  }
}

/** Ends a stream; resolves when its last line is out, or it is broken. */
function finish(stream: Writable): Promise<void> {
  return new Promise((resolve) => {
    stream.once("close", resolve);
    stream.end();
  });
}

function describe(exit: SessionEnd): string {
  if ("code" in exit) return `exit status ${exit.code}`;
  if ("outputClosed" in exit) return "its output is not read any more";
  return "signal" in exit ? `killed by SIG${exit.signal}` : "the connection was lost";
}

/** A line that never ends is printed in pieces of this size. */
const maxLine = 64 * 1024;

/** Writes whole lines to `to`, each with a name in front. */
export function prefixed(to: Writable, name: string): Writable {
  const prefix = new TextEncoder().encode(`[${name}] `);
  let pending: Uint8Array[] = [];
  let length = 0;
  const flush = (): Uint8Array => {
    const line = concat(prefix, ...pending, ...(endsLine(pending) ? [] : [lineFeed]));
    pending = [];
    length = 0;
    return line;
  };
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      const lines: Uint8Array[] = [];
      for (let at = 0; at < chunk.length;) {
        const end = chunk.indexOf(10, at);
        const stop = end < 0 ? chunk.length : end + 1;
        const room = Math.max(1, maxLine - length);
        const piece = chunk.subarray(at, Math.min(stop, at + room));
        pending.push(Uint8Array.from(piece));
        length += piece.length;
        at += piece.length;
        if (endsLine(pending) || length >= maxLine) lines.push(flush());
      }
      if (lines.length === 0) return done();
      // What the shared stream cannot take yet holds this node back, and no other.
      to.write(concat(...lines), () => done());
    },
    final(done) {
      if (length > 0) to.write(flush(), () => done());
      else done();
    },
  });
}

const lineFeed = Uint8Array.of(10);

function endsLine(pieces: readonly Uint8Array[]): boolean {
  return pieces.at(-1)?.at(-1) === 10;
}

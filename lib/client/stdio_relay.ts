/** Bytes between a pair of streams and a node, for programs that speak SSH themselves. */
import type { Readable, Writable } from "node:stream";
import { ConnectionProblem } from "../base/errors.ts";
import { copy } from "../ssh/stream.ts";
import type { NodeLink } from "./cluster_client.ts";

/**
 * Resolves when the node has closed its side, whatever stdin does then.
 * @throws what the proxy says when the node could not be reached
 */
export async function relayToStdio(
  link: NodeLink,
  stdin: Readable,
  stdout: Writable,
): Promise<void> {
  void copy(stdin, link.stream);
  const received = await copy(link.stream, stdout);
  stdin.destroy();
  if (received > 0) return;
  throw await link.explain(new ConnectionProblem("The node closed the connection at once"));
}

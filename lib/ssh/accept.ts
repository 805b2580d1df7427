/** What comes to a listener, for as long as it is open. */
import { messageOf } from "../base/errors.ts";
import { log } from "../base/log.ts";
import { ConnStream } from "./stream.ts";

/** Before the next try, when the system gives no connection now. */
const pauseMs = 100;

/** A listener of any kind: TCP or a Unix socket. */
export interface Accepting<A extends Deno.Addr> {
  accept(): Promise<Deno.Conn<A>>;
}

/**
 * Calls `take` with each connection. Resolves when the listener was closed; never rejects.
 * @param take owns the stream from then on
 * @param onTrouble told why none can be taken now; the log is, unless given
 */
export async function acceptAll<A extends Deno.Addr>(
  listener: Accepting<A>,
  take: (stream: ConnStream, addresses: { remote: A; local: A }) => void,
  onTrouble: (reason: string) => void = warnOf,
): Promise<void> {
  for (;;) {
    let conn;
    try {
      conn = await listener.accept();
    } catch (error) {
      if (isClosed(error)) return;
      // Out of file descriptors, or a client that was gone already: never a reason to stop.
      onTrouble(messageOf(error));
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
      continue;
    }
    const addresses = { remote: conn.remoteAddr, local: conn.localAddr };
    let stream;
    try {
      stream = new ConnStream(conn);
    } catch (error) {
      log("ssh").debug("A connection was gone at once", { error: messageOf(error) });
      continue;
    }
    take(stream, addresses);
  }
}

function warnOf(error: string): void {
  log("ssh").warn("Cannot accept a connection", { error });
}

function isClosed(error: unknown): boolean {
  return error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted;
}

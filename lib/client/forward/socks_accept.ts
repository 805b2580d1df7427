/** The SOCKS handshake on a stream. */
import type { Buffer } from "node:buffer";
import type { Duplex } from "node:stream";
import { SocksHandshake, SocksRefusal, type SocksRequest, type SocksStep } from "./socks.ts";

/** How long a client may take to say what it wants. */
const handshakeMs = 30_000;

/**
 * Reads until it is known where the client wants to go; the stream is paused then. undefined when it
 * has gone, or has taken too long to say.
 * @throws SocksRefusal, which the client has been told
 */
export function acceptSocks(
  stream: Duplex,
  timeoutMs = handshakeMs,
): Promise<SocksRequest | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<SocksRequest | undefined>();
  const handshake = new SocksHandshake();
  const onData = (chunk: Buffer) => {
    let step: SocksStep;
    try {
      step = handshake.push(chunk);
    } catch (e) {
      stop();
      const reply = e instanceof SocksRefusal ? e.reply : new Uint8Array(0);
      stream.end(reply, () => stream.destroy());
      return reject(e);
    }
    if (step.reply.length > 0) stream.write(step.reply);
    if (!step.request) return;
    stop();
    resolve(step.request);
  };
  const giveUp = () => {
    stop();
    stream.destroy();
    resolve(undefined);
  };
  const timer = setTimeout(giveUp, timeoutMs);
  const stop = () => {
    clearTimeout(timer);
    stream.off("data", onData).off("end", giveUp).off("close", giveUp).pause();
  };
  stream.on("error", () => {}).on("end", giveUp).on("close", giveUp).on("data", onData);
  if (stream.destroyed) giveUp();
  return promise;
}

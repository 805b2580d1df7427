/**
 * Connections of programs on this node that are relayed to one client. A program that does not read
 * keeps its connection for a while after the client has closed the channel, so they are counted
 * apart from channels.
 */
import type { Duplex } from "node:stream";
import { LimitExceeded, messageOf } from "../../base/errors.ts";
import { log } from "../../base/log.ts";
import { type ConnStream, relay } from "../../ssh/stream.ts";

export class Relays {
  readonly #max: number;
  readonly #onActivity: () => void;
  #count = 0;

  /** @param onActivity called whenever bytes come or go */
  constructor(max: number, onActivity: () => void) {
    this.#max = max;
    this.#onActivity = onActivity;
  }

  /**
   * Relays to what `open` opens at the client, and closes the stream when that fails. Never rejects.
   *
   * @param stream belongs to it from now on
   */
  async run(stream: ConnStream, open: () => Promise<Duplex>): Promise<void> {
    this.#count++;
    try {
      if (this.#count > this.#max) {
        throw new LimitExceeded(`no more than ${this.#max} are relayed to one client`);
      }
      await relay(await open(), stream, this.#onActivity);
    } catch (error) {
      log("node").info("A connection was not relayed to the client", { error: messageOf(error) });
      stream.destroy();
    } finally {
      this.#count--;
    }
  }
}

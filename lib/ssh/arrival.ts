/**
 * A connection from its acceptance to its authentication: one deadline, one place among the
 * start-ups, and the line by which a proxy says whom it speaks for.
 */
import { Buffer } from "node:buffer";
import type { Duplex } from "node:stream";
import { messageOf } from "../base/errors.ts";
import { log } from "../base/log.ts";
import { type PeerAddress, readClientAddress } from "./client_address.ts";
import type { Startup, Startups } from "./startups.ts";

/** A connection on which SSH may begin. */
export interface Arrived {
  stream: Duplex;
  remote: PeerAddress;
  /** Who told `remote`, when it is not the socket's address. */
  relayedBy?: PeerAddress;
  /** Bytes that were read already. */
  already?: Buffer;
  /** Called when the time for authentication is over; closes the stream unless changed. */
  expire(): void;
  /** To be called when the connection is authenticated or gone. */
  done(): void;
}

export interface ArrivalOptions {
  startups: Startups;
  graceMs: number;
  clientAddressFrom?: ((remote: PeerAddress, claimed: PeerAddress) => boolean) | undefined;
}

/**
 * Calls `begin` when it is the connection's turn. False when there are too many; the stream is then
 * still the caller's.
 */
export function arrive(
  stream: Duplex,
  remote: PeerAddress,
  options: ArrivalOptions,
  begin: (arrived: Arrived) => void,
): boolean {
  let startup: Startup | undefined;
  let giveUp = () => {};
  const timer = setTimeout(() => arrived.expire(), options.graceMs);
  const arrived: Arrived = {
    stream,
    remote,
    expire: () => stream.destroy(),
    done: () => {
      clearTimeout(timer);
      startup?.release();
      giveUp();
    },
  };
  const place = options.startups.request(remote.host, (granted) => {
    startup = granted;
    if (stream.destroyed) arrived.done();
    else if (options.clientAddressFrom) {
      readFirst(arrived, granted, options.clientAddressFrom, begin);
    } else begin(arrived);
  });
  if (!place) {
    clearTimeout(timer);
    return false;
  }
  giveUp = place;
  stream.once("close", () => arrived.done());
  return true;
}

function readFirst(
  arrived: Arrived,
  startup: Startup,
  believes: (remote: PeerAddress, claimed: PeerAddress) => boolean,
  begin: (arrived: Arrived) => void,
): void {
  const { stream, remote } = arrived;
  let first: Buffer = Buffer.alloc(0);
  const onData = (chunk: Buffer) => {
    first = first.length === 0 ? chunk : Buffer.concat([first, chunk]);
    try {
      const found = readClientAddress(first);
      if (found.kind === "incomplete") return;
      stream.off("data", onData).pause();
      if (found.kind === "none") return begin(Object.assign(arrived, { already: first }));
      const { claimed, rest } = found;
      if (!believes(remote, claimed)) {
        // Perhaps a proxy that is not known yet: served as whom the socket shows.
        log("ssh").info("A client address from an unknown proxy was passed over", { remote });
        return begin(Object.assign(arrived, { already: rest }));
      }
      startup.move(claimed.host);
      begin(Object.assign(arrived, { remote: claimed, relayedBy: remote, already: rest }));
    } catch (error) {
      log("ssh").warn("A client address was refused", { remote, error: messageOf(error) });
      stream.destroy();
    }
  };
  stream.on("data", onData);
}

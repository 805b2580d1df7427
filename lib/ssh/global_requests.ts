/**
 * Global requests (RFC 4254 §4): what either side asks of the connection as a whole. An answer does
 * not say which question it is for, so that everything depends on the order: of what was asked, and
 * of what is answered.
 */
import type { Buffer } from "node:buffer";
import { messageOf } from "../base/errors.ts";
import { log } from "../base/log.ts";
import { printable } from "../base/text.ts";
import { WireReader } from "../sshwire/codec.ts";
import { DISCONNECT, globalRequest, requestFailure, requestSuccess } from "./messages.ts";
import { Disconnect } from "./transport.ts";

export interface GlobalRequest {
  name: string;
  /** What follows the fields that all requests have. */
  fields: WireReader;
}

/** True and bytes say yes, the bytes with the answer. */
export type GlobalAnswer = boolean | Uint8Array;

export interface GlobalRequestsOptions {
  send(payload: Uint8Array): void;
  /** Called for one request at a time, in their order. What it throws says no. */
  answer(request: GlobalRequest): GlobalAnswer | Promise<GlobalAnswer>;
}

/** Told what a yes came with; undefined for a no, and when the connection went first. */
export type OnReply = (fields: WireReader | undefined) => void;

/** Requests that may wait while an earlier one is being answered. */
const maxWaiting = 256;

interface Waiting extends GlobalRequest {
  wantReply: boolean;
}

export class GlobalRequests {
  readonly #options: GlobalRequestsOptions;
  readonly #asked: OnReply[] = [];
  readonly #waiting: Waiting[] = [];
  #isAnswering = false;
  #isClosed = false;

  constructor(options: GlobalRequestsOptions) {
    this.#options = options;
  }

  /** Says something that wants no answer. */
  tell(name: string, fields?: Uint8Array): void {
    this.#send(name, false, fields);
  }

  /** `onReply` is called before the message behind the answer is read. */
  ask(name: string, fields: Uint8Array | undefined, onReply: OnReply): void {
    if (this.#isClosed) return onReply(undefined);
    this.#asked.push(onReply);
    this.#send(name, true, fields);
  }

  /** Any answer, also a no, is a sign of life. */
  askAlive(): void {
    this.ask("keepalive@openssh.com", undefined, () => {});
  }

  /** @throws BadParameter, Disconnect */
  onRequest(payload: Buffer): void {
    // A copy: the request may have to wait.
    const fields = new WireReader(Uint8Array.from(payload.subarray(1)), "global request");
    const request = { name: fields.utf8(), wantReply: fields.bool(), fields };
    if (this.#waiting.length >= maxWaiting) {
      throw new Disconnect(DISCONNECT.PROTOCOL_ERROR, "Too many global requests");
    }
    this.#waiting.push(request);
    this.#goOn();
  }

  /** REQUEST_SUCCESS or REQUEST_FAILURE. One that nobody asked for is passed over, as by OpenSSH. */
  onReply(isYes: boolean, payload: Buffer): void {
    this.#asked.shift()?.(isYes ? new WireReader(payload.subarray(1), "answer") : undefined);
  }

  /** The connection is gone. */
  close(): void {
    this.#isClosed = true;
    this.#waiting.length = 0;
    for (const onReply of this.#asked.splice(0)) onReply(undefined);
  }

  #send(name: string, wantReply: boolean, fields: Uint8Array | undefined): void {
    const message = globalRequest(name, wantReply);
    this.#options.send((fields ? message.raw(fields) : message).bytes());
  }

  #goOn(): void {
    while (!this.#isAnswering) {
      const request = this.#waiting.shift();
      if (!request) return;
      const answer = this.#answer(request);
      if (!(answer instanceof Promise)) {
        this.#reply(request, answer);
        continue;
      }
      this.#isAnswering = true;
      answer.catch((error) => refused(request, error)).then((late) => {
        this.#isAnswering = false;
        this.#reply(request, late);
        this.#goOn();
      });
    }
  }

  #answer(request: GlobalRequest): GlobalAnswer | Promise<GlobalAnswer> {
    try {
      return this.#options.answer(request);
    } catch (error) {
      return refused(request, error);
    }
  }

  #reply({ wantReply }: Waiting, answer: GlobalAnswer): void {
    if (!wantReply || this.#isClosed) return;
    const payload = answer instanceof Uint8Array ? answer : undefined;
    this.#options.send(answer === false ? requestFailure() : requestSuccess(payload));
  }
}

function refused({ name }: GlobalRequest, error: unknown): false {
  log("ssh").debug("A global request was refused", {
    name: printable(name.slice(0, 64)),
    error: messageOf(error),
  });
  return false;
}

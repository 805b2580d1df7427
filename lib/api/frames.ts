/**
 * Frames of the auth API: u32 length (big endian), then that many bytes of JSON in UTF-8.
 */
import { BadParameter, LimitExceeded, messageOf } from "../base/errors.ts";
import { utf8Decode, utf8Encode } from "../base/bytes.ts";

/** Largest frame either side accepts, bytes. */
export const MAX_FRAME_BYTES = 16 * 1024 * 1024;

/** @throws LimitExceeded when the message is too large to send */
export function encodeFrame(message: unknown): Uint8Array {
  const body = utf8Encode(JSON.stringify(message));
  if (body.length > MAX_FRAME_BYTES) {
    throw new LimitExceeded(`message of ${body.length} bytes is over ${MAX_FRAME_BYTES}`);
  }
  const frame = new Uint8Array(4 + body.length);
  new DataView(frame.buffer).setUint32(0, body.length);
  frame.set(body, 4);
  return frame;
}

/** Cuts a byte stream into messages. After it threw, the stream is of no use any more. */
export class FrameDecoder {
  #chunks: Uint8Array[] = [];
  #buffered = 0;

  /** @param maxBytes largest frame to accept */
  constructor(private readonly maxBytes = MAX_FRAME_BYTES) {}

  /**
   * Takes the next bytes and returns the messages they complete, in order.
   * @throws LimitExceeded for a frame over the limit, BadParameter when it is not JSON
   */
  push(chunk: Uint8Array): unknown[] {
    this.#chunks.push(chunk);
    this.#buffered += chunk.length;
    const messages: unknown[] = [];
    for (;;) {
      const length = this.#peekLength();
      if (length === undefined || this.#buffered < 4 + length) return messages;
      messages.push(parseMessage(this.#take(4 + length).subarray(4)));
    }
  }

  #peekLength(): number | undefined {
    if (this.#buffered < 4) return undefined;
    if (this.#chunks[0]!.length < 4) this.#chunks = [this.#join()];
    const head = this.#chunks[0]!;
    const length = new DataView(head.buffer, head.byteOffset).getUint32(0);
    if (length > this.maxBytes) {
      throw new LimitExceeded(`frame of ${length} bytes is over the limit of ${this.maxBytes}`);
    }
    return length;
  }

  #take(count: number): Uint8Array {
    const all = this.#chunks.length === 1 ? this.#chunks[0]! : this.#join();
    const rest = all.subarray(count);
    this.#chunks = rest.length > 0 ? [rest] : [];
    this.#buffered = rest.length;
    return all.subarray(0, count);
  }

  #join(): Uint8Array {
    const all = new Uint8Array(this.#buffered);
    let offset = 0;
    for (const chunk of this.#chunks) {
      all.set(chunk, offset);
      offset += chunk.length;
    }
    return all;
  }
}

function parseMessage(body: Uint8Array): unknown {
  const text = utf8Decode(body);
  try {
    // An own property "__proto__" becomes a prototype as soon as somebody copies the object.
    return text.includes("__proto__") ? JSON.parse(text, dropProto) : JSON.parse(text);
  } catch (cause) {
    throw new BadParameter(`frame is not JSON: ${messageOf(cause)}`, { cause });
  }
}

function dropProto(key: string, value: unknown): unknown {
  return key === "__proto__" ? undefined : value;
}

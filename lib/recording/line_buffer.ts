/** Lines in UTF-8 that are put together byte by byte. */

const FIRST_BYTES = 1024;
/** What is larger is given back after use, and shared. */
const KEPT_BYTES = 64 * 1024;
const MAX_SPARE = 4;

const encoder = new TextEncoder();
/** Of one thread: buffers of busy sessions, which an idle one does not hold on to. */
const spare: Uint8Array<ArrayBuffer>[] = [];

export class LineBuffer {
  /** Room for what was reserved; {@linkcode length} bytes of it are in use. */
  bytes: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  length = 0;

  /** Makes room for so many further bytes. */
  reserve(more: number): void {
    const wanted = this.length + more;
    if (wanted <= this.bytes.length) return;
    let capacity = Math.max(FIRST_BYTES, this.bytes.length);
    while (capacity < wanted) capacity *= 2;
    const at = spare.findIndex((each) => each.length >= capacity);
    const larger = at < 0 ? new Uint8Array(capacity) : spare.splice(at, 1)[0]!;
    larger.set(this.bytes.subarray(0, this.length));
    this.#giveBack();
    this.bytes = larger;
  }

  text(text: string): void {
    this.reserve(text.length * 3);
    this.length += encoder.encodeInto(text, this.bytes.subarray(this.length)).written;
  }

  /** What was put in; good until the next change. */
  get content(): Uint8Array<ArrayBuffer> {
    return this.bytes.subarray(0, this.length);
  }

  clear(): void {
    this.length = 0;
    if (this.bytes.length <= KEPT_BYTES) return;
    this.#giveBack();
    this.bytes = new Uint8Array(0);
  }

  #giveBack(): void {
    if (this.bytes.length > KEPT_BYTES && spare.length < MAX_SPARE) spare.push(this.bytes);
  }
}

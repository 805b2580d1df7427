/** The text of a recording, inflated piece by piece. */
import { createGunzip } from "node:zlib";
import { BadParameter } from "../../base/errors.ts";
import { inflateMember, MEMBER_HEADER_BYTES, readMemberHeader } from "../members.ts";
import { type ByteSource, SourceReader } from "./source.ts";

export interface Piece {
  readonly bytes: Uint8Array;
  /** Where reading can begin again with exactly this piece: at the start of a member of ours. */
  readonly offset?: number;
}

/** Compressed bytes that are given to zlib at a time: at most a thousand times as many come out. */
const SLICE_BYTES = 16 * 1024;
const PIECE_BYTES = 64 * 1024;

/**
 * Members of ours one by one, other gzip as a stream, and asciicasts that are not compressed as they
 * are. Memory is bounded whatever the input inflates to.
 *
 * @throws BadParameter at the place where the recording is damaged or cut off; what is before it
 * has come by then
 */
export async function* plainText(source: ByteSource, offset = 0): AsyncGenerator<Piece> {
  const reader = new SourceReader(source, offset);
  const head = await reader.peek(2);
  if (!isGzip(head)) {
    yield* uncompressed(reader);
    return;
  }
  for (;;) {
    const head = await reader.peek(MEMBER_HEADER_BYTES);
    if (head.length === 0) return;
    const header = readMemberHeader(head);
    const member = header && await reader.peek(header.length);
    if (!header || !member || member.length < header.length) {
      if (!isGzip(head)) throw new BadParameter("A part of the recording is damaged");
      yield* gunzipped(reader);
      return;
    }
    const at = reader.offset;
    yield { bytes: await inflateMember(member), offset: at };
    reader.skip(header.length);
  }
}

function isGzip(head: Uint8Array): boolean {
  return head[0] === 0x1f && head[1] === 0x8b;
}

async function* uncompressed(reader: SourceReader): AsyncGenerator<Piece> {
  for (;;) {
    const bytes = await reader.some(PIECE_BYTES);
    if (bytes.length === 0) return;
    yield { bytes };
  }
}

/** Gzip that is not ours, or whose end is missing: what there is of it comes, then the error. */
async function* gunzipped(reader: SourceReader): AsyncGenerator<Piece> {
  const gunzip = createGunzip({ chunkSize: PIECE_BYTES });
  let inflated: Uint8Array[] = [];
  const { promise: over, resolve, reject } = Promise.withResolvers<void>();
  over.catch(() => {});
  gunzip.on("data", (bytes: Uint8Array) => inflated.push(bytes));
  gunzip.on("end", resolve).on("close", resolve).on("error", reject);
  try {
    for (let ended = false; !ended;) {
      // The next slice goes in when what the last one gave has been taken: so a bomb is bounded.
      const slice = await reader.some(SLICE_BYTES);
      ended = slice.length === 0;
      let failure: unknown;
      try {
        if (ended) gunzip.end();
        const written = () => new Promise<void>((done) => gunzip.write(slice, () => done()));
        await (ended ? over : Promise.race([written(), over]));
      } catch (e) {
        failure = e;
      }
      const pieces = inflated;
      inflated = [];
      for (const bytes of pieces) yield { bytes };
      if (failure !== undefined) {
        throw new BadParameter("A part of the recording is damaged or missing", { cause: failure });
      }
    }
  } finally {
    gunzip.destroy();
  }
}

/** The places that audit events can go to. */
import { utf8Encode } from "../../base/bytes.ts";
import { ConnectionProblem } from "../../base/errors.ts";
import type { Destination } from "./forwarder.ts";
import type { LogChunk } from "./log_reader.ts";

const CHUNK_BYTES = 1024 * 1024;
/** An HTTP receiver may refuse a body as too large: the next one is smaller, down to a line. */
const MIN_CHUNK_BYTES = 1024;
const HTTP_TIMEOUT_MS = 30_000;

/** Files of the same names, and bytes at the same places: written twice they are the same. */
export class FileDestination implements Destination {
  readonly name: string;
  readonly begin = "start";
  readonly chunkBytes = CHUNK_BYTES;

  /** @param directory made with mode 0700 when missing */
  constructor(private readonly directory: string) {
    this.name = `file://${directory}`;
  }

  async deliver({ file, offset, bytes }: LogChunk): Promise<void> {
    await Deno.mkdir(this.directory, { recursive: true, mode: 0o700 });
    const path = `${this.directory}/${file}`;
    using out = await Deno.open(path, { write: true, create: true, mode: 0o600 });
    await out.seek(offset, Deno.SeekMode.Start);
    await writeAll(out, bytes);
    await out.syncData();
  }
}

/** From the first start on: what was before is not news. */
export class StdoutDestination implements Destination {
  readonly name = "stdout://";
  readonly begin = "end";
  readonly chunkBytes = 64 * 1024;

  async deliver({ bytes }: LogChunk): Promise<void> {
    await writeAll(Deno.stdout, utf8Encode(wholeEvents(bytes)));
  }
}

export interface HttpDestinationOptions {
  readonly url: string;
  /** Read at each delivery, so that it can be changed. */
  readonly tokenFile?: string;
  /** PEM, in place of the system's authorities. */
  readonly caFile?: string;
}

/** POST of JSON lines (application/x-ndjson); any 2xx is an acknowledgement. */
export class HttpDestination implements Destination {
  readonly name: string;
  readonly begin = "start";
  readonly #options: HttpDestinationOptions;
  #chunkBytes = CHUNK_BYTES;
  #client: Deno.HttpClient | undefined;

  constructor(options: HttpDestinationOptions) {
    this.#options = options;
    const { origin, pathname } = new URL(options.url);
    // A query may hold a secret.
    this.name = origin + pathname;
  }

  get chunkBytes(): number {
    return this.#chunkBytes;
  }

  async deliver({ bytes }: LogChunk, signal: AbortSignal): Promise<void> {
    const body = wholeEvents(bytes);
    if (body === "") return;
    const { url, tokenFile, caFile } = this.#options;
    const token = tokenFile === undefined ? undefined : (await Deno.readTextFile(tokenFile)).trim();
    this.#client ??= Deno.createHttpClient(
      caFile === undefined ? {} : { caCerts: [await Deno.readTextFile(caFile)] },
    );
    const response = await fetch(url, {
      method: "POST",
      body,
      headers: {
        "content-type": "application/x-ndjson",
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
      // A token is for nobody else.
      redirect: "error",
      signal: AbortSignal.any([signal, AbortSignal.timeout(HTTP_TIMEOUT_MS)]),
      client: this.#client,
    });
    await response.body?.cancel();
    if (response.ok) {
      this.#chunkBytes = Math.min(CHUNK_BYTES, this.#chunkBytes * 2);
      return;
    }
    if (response.status === 413) {
      this.#chunkBytes = Math.max(MIN_CHUNK_BYTES, Math.floor(this.#chunkBytes / 2));
    }
    throw new ConnectionProblem(`it answered with status ${response.status}`);
  }

  close(): void {
    this.#client?.close();
  }
}

/** Without what a crash tore: a receiver would refuse all of it. */
function wholeEvents(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes).split("\n").filter((line) =>
    line.startsWith("{") && line.endsWith("}")
  )
    .map((line) => `${line}\n`).join("");
}

async function writeAll(
  to: { write(bytes: Uint8Array): Promise<number> },
  bytes: Uint8Array,
): Promise<void> {
  for (let done = 0; done < bytes.length;) done += await to.write(bytes.subarray(done));
}

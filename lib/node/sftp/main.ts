/** The process behind the subsystem `sftp`: the hidden verb `teleport sftp-server`. */
import { BadParameter } from "../../base/errors.ts";
import { ECONNRESET, EPIPE, OsError } from "../os/libc.ts";
import type { SftpReport } from "./audit.ts";
import { SftpServer } from "./server.ts";
import { read, writeAll } from "../os/fs.ts";
import { ReplyWriter, RequestStream } from "./wire.ts";

/**
 * Serves one client on stdin and stdout until it ends. Blocks the whole process on purpose: it
 * has nothing else to do, and system calls made directly are several times as fast as promises.
 *
 * @returns exit status
 */
export function runSftpServer(args: readonly string[]): number {
  if (args.length > 0) return fail(`unexpected argument ${args[0]}`, 2);
  const reports = new Reports();
  const out = new ReplyWriter((bytes) => {
    // What was done is on record before the client learns of it.
    reports.flush();
    writeAll(1, bytes);
  });
  const server = new SftpServer(out, (report) => reports.add(report));
  const requests = new RequestStream((into) => {
    out.flush();
    return read(0, into);
  });
  try {
    for (let message = requests.next(); message; message = requests.next()) {
      server.handle(message);
    }
    return 0;
  } catch (error) {
    // The client has gone away.
    if (error instanceof OsError && GONE.has(error.errno)) return 0;
    if (!(error instanceof BadParameter)) throw error;
    return fail(error.message, 255);
  } finally {
    server.end();
    reports.flush();
  }
}

const GONE = new Set([EPIPE, ECONNRESET]);

function fail(message: string, status: number): number {
  writeAll(2, new Uint8Array(new TextEncoder().encode(`sftp-server: ${message}\n`)));
  return status;
}

/** One JSON object a line on stderr, each written before the client has its answer. */
class Reports {
  readonly #encoder = new TextEncoder();
  #lines = "";

  add(report: SftpReport): void {
    this.#lines += JSON.stringify(report) + "\n";
  }

  flush(): void {
    if (this.#lines === "") return;
    const bytes = new Uint8Array(this.#encoder.encode(this.#lines));
    this.#lines = "";
    writeAll(2, bytes);
  }
}

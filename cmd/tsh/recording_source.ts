/** What `tsh play` is told to play: a session by its id or how it begins, a file, or stdin. */
import { BadParameter, messageOf, NotFound } from "../../lib/base/errors.ts";
import { isUuid } from "../../lib/base/ids.ts";
import { printable } from "../../lib/base/text.ts";
import type { Flags } from "../../lib/cli/flags.ts";
import { FileSource, PipeSource, RemoteSource } from "../../lib/client/player/sources.ts";
import { resolveSession } from "../../lib/client/player/resolve.ts";
import type { ByteSource } from "../../lib/recording/play/source.ts";
import { connectCluster } from "./credentials.ts";

export interface OpenSource extends ByteSource, Disposable {
  /** Whether a session's recording is all here; of sessions only. */
  isFinished?(): boolean;
}

/**
 * @throws NotFound when there is no such recording; AccessDenied when the user may not read it;
 * BadParameter when several sessions begin like this
 */
export async function openSource(what: string, flags: Flags): Promise<OpenSource> {
  if (what === "-") {
    const pipe = new PipeSource();
    return { read: (offset) => pipe.read(offset), [Symbol.dispose]: () => {} };
  }
  const name = what.toLowerCase();
  if (isUuid(name) || /^[0-9a-f][0-9a-f-]{0,35}$/.test(name)) return await openSession(name, flags);
  try {
    return new FileSource(what);
  } catch (e) {
    if (!(e instanceof Deno.errors.NotFound)) {
      throw new BadParameter(`Cannot read ${printable(what)}: ${messageOf(e)}`, { cause: e });
    }
    throw new NotFound(
      `${JSON.stringify(printable(what))} is neither a file nor the id of a session: ` +
        "`tsh recordings ls` lists the recordings",
      { cause: e },
    );
  }
}

async function openSession(idOrPrefix: string, flags: Flags): Promise<OpenSource> {
  const { cluster } = await connectCluster(flags);
  try {
    const api = await cluster.connectAuth();
    const source = new RemoteSource(api, await resolveSession(api, idOrPrefix));
    return {
      read: (offset) => source.read(offset),
      isFinished: () => source.finished,
      [Symbol.dispose]: () => {
        api.close();
        cluster.close();
      },
    };
  } catch (e) {
    cluster.close();
    throw e;
  }
}

/** The bytes of one session between a client's channel and the target's, recorded on the way. */
import { Transform } from "node:stream";
import type { Tape } from "../../recording/tape.ts";
import type { ClientChannel, ExitStatus } from "../../ssh/client.ts";
import type { ServerChannel } from "../../ssh/server.ts";
import { copy } from "../../ssh/stream.ts";

export interface SessionRelay {
  /** How it ended at the target, once the client has been sent all that came before. */
  readonly ended: Promise<ExitStatus>;
  /** So far: sent to the client, and received from it. */
  readonly bytes: { readonly tx: number; readonly rx: number };
}

/**
 * Each direction ends by itself, and a slow reader holds its writer back. Of a session on a terminal
 * nothing is shown that the tape has not taken.
 */
export function relaySession(
  client: ServerChannel,
  target: ClientChannel,
  o: { readonly tape?: Tape | undefined; readonly onActivity: () => void },
): SessionRelay {
  const bytes = { tx: 0, rx: 0 };
  copy(client.stream, target.stream, () => {}, o.onActivity);
  const output = o.tape
    ? copyRecorded(target, client, o.tape, o.onActivity)
    : copy(target.stream, client.stream, () => {}, o.onActivity);
  const errors = copy(target.stderr, client.stderr, () => {}, o.onActivity);
  client.stream.on("data", (chunk: Uint8Array) => bytes.rx += chunk.length);
  target.stream.on("data", (chunk: Uint8Array) => bytes.tx += chunk.length);
  target.stderr.on("data", (chunk: Uint8Array) => bytes.tx += chunk.length);
  return { bytes, ended: Promise.all([target.exited, output, errors]).then(([status]) => status) };
}

async function copyRecorded(
  target: ClientChannel,
  client: ServerChannel,
  tape: Tape,
  onActivity: () => void,
): Promise<void> {
  const recorder = new Transform({
    transform(chunk: Uint8Array, _encoding, done) {
      const behind = tape.output(chunk);
      if (behind) behind.then(() => done(null, chunk), (error) => done(error));
      else done(null, chunk);
    },
  });
  const giveUp = () => recorder.destroy();
  await Promise.all([
    copy(target.stream, recorder, giveUp, onActivity),
    copy(recorder, client.stream, giveUp),
  ]);
}

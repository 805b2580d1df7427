/** The server's side of scp's old protocol, as clients ask for it: `scp [-flags] -t|-f path`. */

export interface ScpCommand {
  readonly action: "upload" | "download";
  /** As the client wrote it, quotes and patterns included. */
  readonly path: string;
  /** What follows the word `scp`. */
  readonly rest: string;
}

/** undefined for any other command. */
export function parseScpCommand(command: string): ScpCommand | undefined {
  const match = /^scp((?:\s+-[A-Za-z]+)+)(?:\s+--)?\s+(\S.*)$/s.exec(command);
  if (!match) return undefined;
  const flags = match[1]!;
  const sink = /\s-[A-Za-z]*t/.test(flags);
  const source = /\s-[A-Za-z]*f/.test(flags);
  if (sink === source) return undefined;
  return { action: sink ? "upload" : "download", path: match[2]!, rest: command.slice(3) };
}

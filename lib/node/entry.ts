/**
 * Programs that a node starts as the operating-system user: hidden verbs of `teleport`. Each
 * loads only what it needs, because a client waits for it.
 */

/**
 * `teleport sftp-server`: serves SFTP on stdin and stdout until the client ends, and reports what
 * is done as JSON lines on stderr.
 *
 * @returns exit status
 */
export async function runSftpServer(args: readonly string[]): Promise<number> {
  const { runSftpServer } = await import("./sftp/main.ts");
  return runSftpServer(args);
}

/**
 * `teleport scp`: the far end of scp's old protocol on stdin and stdout.
 *
 * @param args what follows `scp`
 * @returns exit status
 */
export async function runScp(args: readonly string[]): Promise<number> {
  const { runScp } = await import("./scp/main.ts");
  return runScp(args);
}

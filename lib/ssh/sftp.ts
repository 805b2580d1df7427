/**
 * SFTP version 3. The codec is our own: ssh2's cannot announce extensions, reads names lossily and
 * is bound to its own channels.
 */
export { SftpClient } from "./sftp_client.ts";
export { SftpFile } from "./sftp_file.ts";
export {
  SFTP_OPEN,
  SFTP_STATUS,
  type SftpAttrs,
  type SftpEntry,
  SftpError,
  type SftpStatvfs,
} from "./sftp_wire.ts";

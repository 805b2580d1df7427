/** How a file is opened, in the protocol's bits and in the system's. */
import { SFTP_OPEN } from "../../ssh/sftp_wire.ts";
import * as fs from "../os/fs.ts";

export function openFlags(wire: number): number {
  const { READ, WRITE, APPEND, CREATE, TRUNCATE, EXCLUSIVE } = SFTP_OPEN;
  const both = READ | WRITE;
  const access = (wire & both) === both ? fs.O_RDWR : (wire & WRITE) !== 0 ? fs.O_WRONLY : 0;
  return access |
    ((wire & APPEND) !== 0 ? fs.O_APPEND : 0) |
    ((wire & CREATE) !== 0 ? fs.O_CREAT : 0) |
    ((wire & TRUNCATE) !== 0 ? fs.O_TRUNC : 0) |
    ((wire & EXCLUSIVE) !== 0 ? fs.O_EXCL : 0);
}

/** Terminals as SSH describes them (RFC 4254 §6.2, §6.7 and §8). */
import { BadParameter } from "../base/errors.ts";
import { WireReader, WireWriter } from "../sshwire/codec.ts";

export interface WindowSize {
  /** Characters. */
  cols: number;
  rows: number;
  /** Pixels; 0 when unknown. */
  widthPx: number;
  heightPx: number;
}

export interface PtyRequest extends WindowSize {
  /** The value of TERM. */
  term: string;
  /** Opcode of RFC 4254 §8 (1 VINTR … 129 TTY_OP_OSPEED) → value. */
  modes: ReadonlyMap<number, number>;
}

const maxTerm = 64;
const maxSize = 65_535;
const ttyOpEnd = 0;
/** Opcodes from here on end the list: their arguments are not known to be numbers. */
const firstUndefinedOpcode = 160;

export function readWindow(fields: WireReader): WindowSize {
  const size = () => Math.min(fields.u32(), maxSize);
  const window = { cols: size(), rows: size(), widthPx: size(), heightPx: size() };
  fields.end();
  return window;
}

export function readPty(fields: WireReader): PtyRequest {
  const term = fields.utf8();
  if (term.length > maxTerm || !/^[\x21-\x7e]*$/.test(term)) {
    throw new BadParameter("Malformed pty request: TERM cannot be used");
  }
  const size = () => Math.min(fields.u32(), maxSize);
  const window = { cols: size(), rows: size(), widthPx: size(), heightPx: size() };
  const modes = readModes(fields.string());
  fields.end();
  return { term, ...window, modes };
}

export function writeWindow({ cols, rows, widthPx, heightPx }: WindowSize): Uint8Array {
  return new WireWriter().u32(cols).u32(rows).u32(widthPx).u32(heightPx).bytes();
}

export function writePty(pty: PtyRequest): Uint8Array {
  const modes = new WireWriter();
  for (const [opcode, value] of pty.modes) modes.u8(opcode).u32(value >>> 0);
  return new WireWriter().string(pty.term).raw(writeWindow(pty)).string(modes.u8(ttyOpEnd).bytes())
    .bytes();
}

function readModes(encoded: Uint8Array): ReadonlyMap<number, number> {
  const modes = new Map<number, number>();
  const reader = new WireReader(encoded, "terminal modes");
  while (reader.remaining > 0) {
    const opcode = reader.u8();
    if (opcode === ttyOpEnd || opcode >= firstUndefinedOpcode) break;
    modes.set(opcode, reader.u32());
  }
  return modes;
}

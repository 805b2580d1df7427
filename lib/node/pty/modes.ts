/**
 * Terminal modes of RFC 4254, section 8, as they are set in a `struct termios` of Linux (x86-64
 * and arm64 have the same).
 */
import { check, libc } from "../os/libc.ts";

/** Modes by opcode or by name ("VINTR", 1), as the client sent them. */
export type TerminalModes = ReadonlyMap<number | string, number>;

type Field = "cc" | "iflag" | "oflag" | "cflag" | "lflag" | "ispeed" | "ospeed";

interface Mode {
  readonly opcode: number;
  readonly name: string;
  readonly field: Field;
  /** Index into c_cc, or the flag's bits. */
  readonly value: number;
}

const mode = (opcode: number, name: string, field: Field, value: number): Mode => (
  { opcode, name, field, value }
);

const MODES: readonly Mode[] = [
  mode(1, "VINTR", "cc", 0),
  mode(2, "VQUIT", "cc", 1),
  mode(3, "VERASE", "cc", 2),
  mode(4, "VKILL", "cc", 3),
  mode(5, "VEOF", "cc", 4),
  mode(6, "VEOL", "cc", 11),
  mode(7, "VEOL2", "cc", 16),
  mode(8, "VSTART", "cc", 8),
  mode(9, "VSTOP", "cc", 9),
  mode(10, "VSUSP", "cc", 10),
  // 11 (VDSUSP), 15 (VFLUSH) and 17 (VSTATUS) do not exist on Linux.
  mode(12, "VREPRINT", "cc", 12),
  mode(13, "VWERASE", "cc", 14),
  mode(14, "VLNEXT", "cc", 15),
  mode(16, "VSWTCH", "cc", 7),
  mode(18, "VDISCARD", "cc", 13),

  mode(30, "IGNPAR", "iflag", 0o4),
  mode(31, "PARMRK", "iflag", 0o10),
  mode(32, "INPCK", "iflag", 0o20),
  mode(33, "ISTRIP", "iflag", 0o40),
  mode(34, "INLCR", "iflag", 0o100),
  mode(35, "IGNCR", "iflag", 0o200),
  mode(36, "ICRNL", "iflag", 0o400),
  mode(37, "IUCLC", "iflag", 0o1000),
  mode(38, "IXON", "iflag", 0o2000),
  mode(39, "IXANY", "iflag", 0o4000),
  mode(40, "IXOFF", "iflag", 0o10000),
  mode(41, "IMAXBEL", "iflag", 0o20000),
  // RFC 8160.
  mode(42, "IUTF8", "iflag", 0o40000),

  mode(50, "ISIG", "lflag", 0o1),
  mode(51, "ICANON", "lflag", 0o2),
  mode(52, "XCASE", "lflag", 0o4),
  mode(53, "ECHO", "lflag", 0o10),
  mode(54, "ECHOE", "lflag", 0o20),
  mode(55, "ECHOK", "lflag", 0o40),
  mode(56, "ECHONL", "lflag", 0o100),
  mode(57, "NOFLSH", "lflag", 0o200),
  mode(58, "TOSTOP", "lflag", 0o400),
  mode(59, "IEXTEN", "lflag", 0o100000),
  mode(60, "ECHOCTL", "lflag", 0o1000),
  mode(61, "ECHOKE", "lflag", 0o4000),
  mode(62, "PENDIN", "lflag", 0o40000),

  mode(70, "OPOST", "oflag", 0o1),
  mode(71, "OLCUC", "oflag", 0o2),
  mode(72, "ONLCR", "oflag", 0o4),
  mode(73, "OCRNL", "oflag", 0o10),
  mode(74, "ONOCR", "oflag", 0o20),
  mode(75, "ONLRET", "oflag", 0o40),

  mode(90, "CS7", "cflag", 0o40),
  mode(91, "CS8", "cflag", 0o60),
  mode(92, "PARENB", "cflag", 0o400),
  mode(93, "PARODD", "cflag", 0o1000),

  mode(128, "TTY_OP_ISPEED", "ispeed", 0),
  mode(129, "TTY_OP_OSPEED", "ospeed", 0),
];

const byKey: ReadonlyMap<number | string, Mode> = new Map(
  MODES.flatMap((m): [number | string, Mode][] => [[m.opcode, m], [m.name, m]]),
);

/** Offsets in `struct termios` of glibc. */
const FLAG_OFFSET = { iflag: 0, oflag: 4, cflag: 8, lflag: 12 } as const;
const CC_OFFSET = 17;
const ISPEED_OFFSET = 52;
const OSPEED_OFFSET = 56;
export const TERMIOS_SIZE = 60;

const CSIZE = 0o60;
const CBAUD = 0o10017;
/** Value of a control character that is switched off, on the wire and on Linux. */
const DISABLED_ON_WIRE = 255;
const DISABLED = 0;

/** Bits per second → the constant of termbits.h. */
const SPEEDS: ReadonlyMap<number, number> = new Map([
  ...[0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400]
    .map((bits, i) => [bits, i] as const),
  [57600, 0o10001],
  [115200, 0o10002],
  [230400, 0o10003],
  [460800, 0o10004],
  [921600, 0o10007],
  [1000000, 0o10010],
  [4000000, 0o10017],
]);

/**
 * Sets the modes in a `struct termios`; modes that it does not know, or Linux does not have, are
 * left alone, as RFC 4254 asks for.
 */
export function setModes(termios: DataView, modes: TerminalModes): void {
  for (const [key, value] of modes) {
    const known = byKey.get(key);
    if (known) setMode(termios, known, value);
  }
}

function setMode(termios: DataView, { field, value: bits }: Mode, value: number): void {
  switch (field) {
    case "cc":
      termios.setUint8(CC_OFFSET + bits, value === DISABLED_ON_WIRE ? DISABLED : value & 0xff);
      return;
    case "ispeed":
    case "ospeed":
      setSpeed(termios, field, value);
      return;
    default: {
      const offset = FLAG_OFFSET[field];
      // CS7 and CS8 are two values of one field.
      const mask = field === "cflag" && (bits & CSIZE) !== 0 ? CSIZE : bits;
      const flags = termios.getUint32(offset, true);
      if (value !== 0) termios.setUint32(offset, ((flags & ~mask) | bits) >>> 0, true);
      else if (mask === bits) termios.setUint32(offset, (flags & ~bits) >>> 0, true);
    }
  }
}

function setSpeed(termios: DataView, field: "ispeed" | "ospeed", bitsPerSecond: number): void {
  const speed = SPEEDS.get(bitsPerSecond);
  if (speed === undefined) return;
  termios.setUint32(field === "ispeed" ? ISPEED_OFFSET : OSPEED_OFFSET, speed, true);
  if (field === "ispeed") return;
  const flags = termios.getUint32(FLAG_OFFSET.cflag, true);
  termios.setUint32(FLAG_OFFSET.cflag, ((flags & ~CBAUD) | speed) >>> 0, true);
}

const TCSANOW = 0;

/**
 * Sets modes of the terminal behind a descriptor (on Linux the master's stands for the pair).
 *
 * @throws OsError when it is no terminal
 */
export function applyModes(fd: number, modes: TerminalModes): void {
  if (modes.size === 0) return;
  const termios = new DataView(new ArrayBuffer(TERMIOS_SIZE));
  const bytes = new Uint8Array(termios.buffer);
  check(libc().tcgetattr(fd, bytes), "tcgetattr");
  setModes(termios, modes);
  check(libc().tcsetattr(fd, TCSANOW, bytes), "tcsetattr");
}

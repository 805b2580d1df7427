/**
 * Lets the calling thread's work wait for that of others when the processors are busy: to Linux,
 * nice values are of threads. Where that cannot be, nothing changes.
 *
 * @param nice 0 (as others) to 19
 */
export function runInBackground(nice: number): void {
  if (Deno.build.os !== "linux") return;
  try {
    const libc = Deno.dlopen("libc.so.6", {
      setpriority: { parameters: ["i32", "u32", "i32"], result: "i32" },
    });
    libc.symbols.setpriority(PRIO_PROCESS, THIS_THREAD, nice);
    libc.close();
  } catch {
    // Another libc.
  }
}

const PRIO_PROCESS = 0;
const THIS_THREAD = 0;

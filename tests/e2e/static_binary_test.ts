import assert from "node:assert/strict";
import { basename, dirname } from "node:path";
import { freePort } from "../harness/ports.ts";
import { bin, must, run } from "../harness/run.ts";

const programs = ["teleport", "tsh", "tctl"] as const;

/** A root directory with the three programs and the libraries of glibc, and nothing else. */
class BareRoot implements AsyncDisposable {
  private constructor(readonly dir: string) {}

  static async make(): Promise<BareRoot> {
    const root = new BareRoot(await Deno.makeTempDir({ prefix: "tp-chroot-" }));
    for (const program of programs) await root.#copy(bin(program), `/${program}`);
    for (const library of await neededLibraries()) {
      assert.match(basename(library), glibc, `${library} is not one of glibc's`);
      await root.#copy(library, library);
    }
    await Deno.mkdir(`${root.dir}/tmp`);
    await Deno.mkdir(`${root.dir}/proc`);
    return root;
  }

  /**
   * Command line that runs `argv` in here, with /proc, in a mount namespace that ends with it; where
   * we are not root, as the root of a user namespace.
   */
  command(argv: string[]): string[] {
    const enter = 'mount --rbind /proc "$0/proc" && exec chroot "$0" "$@"';
    const asRoot = Deno.uid() === 0 ? [] : ["--map-root-user"];
    return ["unshare", "--mount", ...asRoot, "sh", "-c", enter, this.dir, ...argv];
  }

  async #copy(from: string, to: string): Promise<void> {
    await Deno.mkdir(this.dir + dirname(to), { recursive: true });
    await Deno.copyFile(from, this.dir + to);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.dir, { recursive: true });
  }
}

/** glibc's own, and libgcc_s: glibc loads it to end threads, so that every system with glibc has it. */
const glibc = /^(libc|libm|libdl|librt|libpthread|libgcc_s|ld-linux-[\w-]+)\.so\.\d$/;

async function neededLibraries(): Promise<Set<string>> {
  const libraries = new Set<string>();
  for (const program of programs) {
    const { stdout } = await must(["ldd", bin(program)]);
    for (const [, path] of stdout.matchAll(/(\/\S+) \(0x/g)) libraries.add(path ?? "");
  }
  return libraries;
}

Deno.test("the programs run where there is nothing but glibc", async (t) => {
  await using root = await BareRoot.make();

  for (const program of programs) {
    await t.step(`${program} prints its version`, async () => {
      const { stdout } = await must(root.command([`/${program}`, "version"]), { clearEnv: true });
      assert.match(stdout, /^Teleport v\d+\.\d+\.\d+/);
    });
  }

  await t.step("teleport serves all its roles", async () => {
    const ports = [freePort(), freePort(), freePort(), freePort()];
    await Deno.writeTextFile(
      `${root.dir}/teleport.yaml`,
      `teleport:
  nodename: bare
  data_dir: /data
auth_service:
  listen_addr: 127.0.0.1:${ports[0]}
proxy_service:
  listen_addr: 127.0.0.1:${ports[1]}
  web_listen_addr: 127.0.0.1:${ports[2]}
ssh_service:
  listen_addr: 127.0.0.1:${ports[3]}
`,
    );
    const argv = root.command(["/teleport", "start", "-c", "/teleport.yaml"]);
    const child = new Deno.Command(argv[0]!, {
      args: argv.slice(1),
      clearEnv: true,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    let log = "";
    let told = false;
    const decoder = new TextDecoder();
    const follow = async (stream: ReadableStream<Uint8Array>) => {
      for await (const chunk of stream) {
        log += decoder.decode(chunk, { stream: true });
        if (told || !/Teleport is ready/.test(log)) continue;
        told = true;
        child.kill("SIGTERM");
      }
    };
    const timer = setTimeout(() => child.kill("SIGKILL"), 30_000);
    await Promise.all([follow(child.stdout), follow(child.stderr)]);
    clearTimeout(timer);
    assert.match(log, /Teleport is ready/);
    assert.equal((await child.status).code, 0, log);
  });

  await t.step("tsh says in one line that there is no proxy", async () => {
    const result = await run(root.command(["/tsh", "login", "--proxy=127.0.0.1:1", "--user=joe"]), {
      clearEnv: true,
      env: { HOME: "/" },
    });
    assert.equal(result.code, 1);
    assert.match(result.stderr, /^error: .*127\.0\.0\.1:1/m);
  });
});

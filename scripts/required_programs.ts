/** The programs that tests call, and the Debian packages they come in. */

const packageOf: Readonly<Record<string, string>> = {
  ssh: "openssh-client",
  scp: "openssh-client",
  sftp: "openssh-client",
  "ssh-keygen": "openssh-client",
  "ssh-agent": "openssh-client",
  sshd: "openssh-server",
  oathtool: "oathtool",
  rsync: "rsync",
  git: "git",
  expect: "expect",
  tmux: "tmux",
  vim: "vim",
  ip: "iproute2",
  ps: "procps",
  setpriv: "util-linux",
  setsid: "util-linux",
  unshare: "util-linux",
  curl: "curl",
  openssl: "openssl",
  asciinema: "asciinema",
  faketime: "faketime",
  nc: "netcat-openbsd",
  xauth: "xauth",
  Xvfb: "xvfb",
  xdpyinfo: "x11-utils",
};

export interface MissingTools {
  readonly programs: string[];
  readonly packages: string[];
}

/** Programs that are not on PATH (nor in sbin, where daemons live). */
export async function missingTools(): Promise<MissingTools> {
  const dirs = [...(Deno.env.get("PATH") ?? "").split(":"), "/usr/sbin", "/sbin"];
  const programs: string[] = [];
  for (const program of Object.keys(packageOf)) {
    if (!await isInOneOf(dirs, program)) programs.push(program);
  }
  return { programs, packages: [...new Set(programs.flatMap((p) => packageOf[p] ?? []))] };
}

async function isInOneOf(dirs: string[], program: string): Promise<boolean> {
  for (const dir of dirs) {
    try {
      if ((await Deno.stat(`${dir}/${program}`)).isFile) return true;
    } catch {
      // Not in this one.
    }
  }
  return false;
}

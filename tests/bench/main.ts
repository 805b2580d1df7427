/**
 * Measures the compiled binaries beside OpenSSH's own sshd and ProxyJump in the same run,
 * interleaved; medians and ratios. Nothing here is a test: a goal that is missed is printed so.
 */
import { Cluster } from "../harness/cluster.ts";
import { formatRow, type Row } from "./measure.ts";
import { latency } from "./latency.ts";
import { OpenSsh } from "./openssh.ts";
import { OsUser } from "../harness/os_user.ts";
import { rate } from "./rate.ts";
import { recorded } from "./recorded.ts";
import { sessions } from "./sessions.ts";
import { start } from "./start.ts";
import { throughput } from "./throughput.ts";
import { Bench } from "./setting.ts";

const sections = { start, latency, throughput, sessions, rate, recorded };

const json = Deno.args.includes("--format=json");
const wanted = Deno.args.filter((arg) => !arg.startsWith("-"));
for (const name of wanted) {
  if (!(name in sections)) {
    say(Deno.stderr, `bench: no section "${name}"; there are ${Object.keys(sections).join(", ")}`);
    Deno.exit(2);
  }
}

const rows: Row[] = [];
{
  await using user = await OsUser.add();
  await using cluster = await Cluster.allInOne({ secondFactor: "off" });
  await Deno.chmod(cluster.dir, 0o755);
  const openssh_dir = `${cluster.dir}/openssh`;
  await Deno.mkdir(openssh_dir);
  await using openssh = await OpenSsh.start(openssh_dir, user.name);
  const bench = await Bench.prepare(cluster, openssh, user.name);
  for (const [name, section] of Object.entries(sections)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    for await (const row of section(bench)) {
      rows.push(row);
      if (!json) say(Deno.stdout, formatRow(row));
    }
  }
}
if (json) say(Deno.stdout, JSON.stringify(rows, null, 2));

function say(to: { writeSync(data: Uint8Array): number }, line: string): void {
  to.writeSync(new TextEncoder().encode(`${line}\n`));
}

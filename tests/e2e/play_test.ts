/** Recordings: found, played on a real terminal, exported, removed. */
import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { Cluster, type Person } from "../harness/cluster.ts";
import { bin, eventually, must } from "../harness/run.ts";
import { Terminal } from "../harness/terminal.ts";

interface Listed {
  sid: string;
  user: string;
  login: string;
  finished: boolean;
  duration_ms?: number;
}

async function listed(person: Person): Promise<Listed[]> {
  return JSON.parse((await person.must([bin("tsh"), "recordings", "ls", "--format=json"])).stdout);
}

/** A session in a real terminal; gives its recording when auth has all of it. */
async function record(cluster: Cluster, person: Person, lines: string[]): Promise<string> {
  const known = new Set((await listed(person)).map(({ sid }) => sid));
  const terminal = await Terminal.open([bin("tsh"), "ssh", "root@node-1"], {
    dir: cluster.dir,
    env: person.env,
  });
  try {
    await terminal.shows(/[#$]$/m);
    await terminal.enter("PS1='ready> '; clear");
    await terminal.shows(/^ready>$/m);
    for (const [i, line] of lines.entries()) {
      await terminal.enter(`${line}; echo do''ne ${i}`);
      await terminal.shows(new RegExp(`^done ${i}$`, "m"));
    }
    await terminal.enter("exit");
    await terminal.shows(/\[ended with status 0\]/);
  } finally {
    await terminal.close();
  }
  return await eventually("the recording", async () => {
    const found = (await listed(person)).find(({ sid }) => !known.has(sid));
    return found?.finished ? found.sid : undefined;
  });
}

function cast(events: [number, string, string][], size = { width: 80, height: 24 }): string {
  return [{ version: 2, ...size }, ...events].map((line) => JSON.stringify(line) + "\n").join("");
}

Deno.test("recordings of sessions", async (t) => {
  await using cluster = await Cluster.allInOne();
  const joe = await cluster.enrol("joe");
  await joe.login();
  const sid = await record(cluster, joe, [
    "echo fir''st; sleep 1.2; echo sec''ond",
    "printf '\\033[31mcol\\033[0mour \\033]52;c;aGk=\\007\\n'",
    "printf 'grüße \\377\\n'",
  ]);
  const prefix = sid.slice(0, 8);
  const play = (args: string[], size: { cols?: number; rows?: number } = {}) =>
    Terminal.open([bin("tsh"), "play", ...args], { dir: cluster.dir, env: joe.env, ...size });

  await t.step("tsh recordings ls and tctl recordings ls show them", async () => {
    const table = (await joe.must([bin("tsh"), "recordings", "ls"])).stdout;
    assert.match(table, /^ID +Started \(UTC\) +Length +User +Login +Node +Size/);
    assert.match(table, new RegExp(`^${sid} +\\d{4}-.* 00:0\\d +joe +root +node-1 `, "m"));
    assert.match((await cluster.tctl(["recordings", "ls", "--user=joe"])).stdout, new RegExp(sid));
    assert.equal((await cluster.tctl(["recordings", "ls", "--user=nobody"])).stdout, "");
    assert.equal((await cluster.tctl(["recordings", "ls", "--to=1h"])).stdout, "");
    const bad = await cluster.tryTctl(["recordings", "ls", "--from=soon"]);
    assert.equal(bad.code, 2);
    assert.match(bad.stderr, /--from=soon is no time/);
  });

  await t.step("a session plays as it was, and the terminal is itself again", async () => {
    const terminal = await play(["--skip-idle-time=100ms", prefix]);
    try {
      await terminal.shows(/first\s+second/);
      await terminal.shows(/\[ended with status 0\]/);
      await terminal.type("typed");
      await terminal.shows(/^typed$/m);
      await terminal.shows(/colour/);
    } finally {
      await terminal.close();
    }
  });

  await t.step("as text, JSON and asciicast, in full and without a terminal", async () => {
    const text = (await joe.must([bin("tsh"), "play", sid])).stdout;
    assert.match(text, /^first\nsecond\n/m);
    assert.match(text, /^colour $|^colour$/m);
    assert.match(text, /^grüße \ufffd$/m);
    // deno-lint-ignore no-control-regex
    assert.ok(!/[\x00-\x08\x0b-\x1f]/.test(text));
    const json = (await joe.must([bin("tsh"), "play", "--format=json", prefix])).stdout;
    const events = json.trimEnd().split("\n").map((line) => JSON.parse(line));
    assert.equal(events[0].event, "session.start");
    assert.equal(events[0].sid, sid);
    assert.equal(events[0].user, "joe");
    assert.ok(events.some((e) => e.event === "print" && e.data?.includes("second")));
    const { stdout } = await joe.must([bin("tsh"), "play", "--format=cast", sid]);
    assert.equal(JSON.parse(stdout.split("\n", 1)[0]!).title, "root@node-1");
  });

  await t.step("asciinema takes the export", async () => {
    const file = `${cluster.dir}/session.cast`;
    const { stdout } = await joe.must([bin("tsh"), "play", "--format=cast", sid]);
    await Deno.writeTextFile(file, stdout);
    // It wants a terminal, if only to look at its keys.
    const shown = await must(["script", "-qec", `asciinema cat ${file}`, "/dev/null"], {
      env: { LC_ALL: "C.UTF-8" },
    });
    assert.match(shown.stdout, /first\r\nsecond\r\n/);
  });

  await t.step("tctl exports what is stored, checked by its hash, and removes it", async () => {
    const file = `${cluster.dir}/export.cast.gz`;
    await cluster.tctl(["recordings", "export", prefix, "-o", file]);
    const stored = await Deno.readFile(`${cluster.dir}/main/log/records/${sid}.cast.gz`);
    assert.deepEqual(await Deno.readFile(file), stored);
    assert.match((await joe.must([bin("tsh"), "play", file])).stdout, /first\nsecond\n/);
    const twice = await cluster.tryTctl(["recordings", "export", sid, "-o", file]);
    assert.equal(twice.code, 1);
    assert.match(twice.stderr, /exists already/);
    const text = await cluster.tctl(["recordings", "export", sid, "-o", "-", "--format=text"]);
    assert.match(text.stdout, /first\nsecond\n/);

    const other = await record(cluster, joe, ["echo more"]);
    const short = await cluster.tryTctl(["recordings", "rm", other.slice(0, 8)]);
    assert.equal(short.code, 2, "a part of an id must not delete");
    await cluster.tctl(["recordings", "rm", other]);
    const gone = await joe.tsh(["play", other]);
    assert.equal(gone.code, 1);
    assert.match(gone.stderr, /there is no recording of a session/);
    await assert.rejects(
      Deno.stat(`${cluster.dir}/main/log/records/${other}.cast.gz`),
      Deno.errors.NotFound,
    );
  });

  await t.step("what cannot be played says why", async () => {
    const refused = async (what: string, why: RegExp) => {
      const { code, stderr } = await joe.tsh(["play", what]);
      assert.notEqual(code, 0, what);
      assert.match(stderr, why);
    };
    await refused(
      "ffffffff-ffff-4fff-8fff-ffffffffffff",
      /there is no recording of a session ffff/,
    );
    await refused("fffffff", /No recording is of a session whose id begins with "fffffff"/);
    await refused("no-such-file.cast", /neither a file nor the id of a session/);
    await refused("/etc/passwd", /no recording|not JSON/);
    await record(cluster, joe, []);
    const ids = (await listed(joe)).map((each) => each.sid);
    const shared = ids.map((id) => id[0]!).find((c, i, all) => all.indexOf(c) !== i);
    if (shared) await refused(shared, /Several sessions begin with/);
  });

  await t.step("a running session plays up to now", async () => {
    const known = new Set((await listed(joe)).map((each) => each.sid));
    const terminal = await Terminal.open([bin("tsh"), "ssh", "root@node-1"], {
      dir: cluster.dir,
      env: joe.env,
    });
    try {
      await terminal.shows(/[#$]$/m);
      await terminal.enter("echo still''running");
      await terminal.shows(/stillrunning/);
      const result = await eventually("the recording so far", async () => {
        const running = (await listed(joe)).find((each) => !known.has(each.sid));
        if (!running) return undefined;
        assert.equal(running.finished, false);
        const played = await joe.tsh(["play", running.sid]);
        return played.stdout.includes("stillrunning") ? played : undefined;
      });
      assert.equal(result.code, 0);
      assert.match(result.stderr, /still running/);
    } finally {
      await terminal.close();
    }
  });
});

Deno.test("the player on a terminal", async (t) => {
  const dir = await Deno.makeTempDir({ prefix: "tp-play-" });
  const write = async (name: string, text: string) => {
    await Deno.writeFile(`${dir}/${name}`, gzipSync(text));
    return `${dir}/${name}`;
  };
  const open = (args: string[], size: { cols?: number; rows?: number } = {}) =>
    Terminal.open([bin("tsh"), "play", ...args], { dir, ...size });
  const hour = await write(
    "hour.cast.gz",
    cast(Array.from({ length: 60 }, (_, i) => [i * 10, "o", `minute ${i}.\r\n`])),
  );

  try {
    await t.step("space, arrows, dots and commas, q", async () => {
      const terminal = await open(["--skip-idle-time=0", hour]);
      try {
        await terminal.shows(/minute 0\./);
        await terminal.press("Space");
        await terminal.shows(/paused 00:0\d/);
        await terminal.press("Right");
        await terminal.shows(/minute 1\./);
        await terminal.press("Right", "Right", "Right");
        await terminal.shows(/minute 4\./);
        await terminal.press("Left");
        await eventually(
          "10 seconds back",
          async () => !/minute 4\./.test(await terminal.screen()),
        );
        await terminal.type("..");
        await terminal.shows(/minute 5\./);
        await terminal.type(",");
        await eventually("a step back", async () => !/minute 5\./.test(await terminal.screen()));
        await terminal.press("Up");
        await terminal.shows(/paused 2x 00:/);
        await terminal.type("q");
        await terminal.shows(/\[ended with status 0\]/);
        await terminal.type("typed");
        await terminal.shows(/^typed$/m);
      } finally {
        await terminal.close();
      }
    });

    await t.step(
      "Ctrl-C in the middle of a full-screen program restores the terminal",
      async () => {
        const file = await write(
          "vim.cast.gz",
          cast([[0, "o", "\x1b[?1049h\x1b[?25l\x1b[2;10r\x1b[?6h\x1b[7mfull screen"], [
            9e5,
            "o",
            "x",
          ]]),
        );
        const terminal = await open(["--skip-idle-time=0", file]);
        try {
          await terminal.shows(/full screen/);
          await terminal.press("C-c");
          const [screen] = await terminal.shows(/[\s\S]*\[ended with status 0\][\s\S]*/);
          assert.ok(!screen.includes("full screen"), "the alternate screen was not left");
          const state = await must([
            ...["tmux", "-S", terminal.socket, "display-message", "-p"],
            "#{alternate_on} #{cursor_flag} #{origin_flag} #{scroll_region_upper}",
          ]);
          assert.equal(state.stdout.trim(), "0 1 0 0");
        } finally {
          await terminal.close();
        }
      },
    );

    await t.step("a terminal that is killed is restored as well", async () => {
      const terminal = await open(["--skip-idle-time=0", hour]);
      try {
        await terminal.shows(/minute 0\./);
        const { stdout } = await must(["pgrep", "-f", `^${bin("tsh")} play .*${hour}$`]);
        Deno.kill(Number(stdout.trim().split("\n")[0]), "SIGTERM");
        await terminal.shows(/\[ended with status 143\]/);
        await terminal.type("typed");
        await terminal.shows(/^typed$/m);
      } finally {
        await terminal.close();
      }
    });

    await t.step("a terminal that is too small says so", async () => {
      const file = await write(
        "wide.cast.gz",
        cast([[0, "o", "x"], [9e5, "o", "y"]], {
          width: 200,
          height: 60,
        }),
      );
      const terminal = await open(["--skip-idle-time=0", file]);
      try {
        await terminal.shows(/recorded at 200x60, this window is 80x24/);
        await terminal.type("q");
        await terminal.shows(/\[ended with status 0\]/);
      } finally {
        await terminal.close();
      }
    });
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

import assert from "node:assert/strict";
import { toBase64, utf8Encode } from "../base/bytes.ts";
import { BadParameter, NotFound } from "../base/errors.ts";
import { loadConfig } from "./load.ts";
import { sampleConfig } from "./sample.ts";
import type { Config, ConfigFlags } from "./types.ts";

/** Of a file with this text; not that of the machine. */
function load(text: string, flags: ConfigFlags = {}): Promise<Config> {
  return loadConfig({ configString: toBase64(utf8Encode(`${text}\n`)), flags });
}

async function refused(text: string, wanted: RegExp, flags: ConfigFlags = {}): Promise<void> {
  await assert.rejects(load(text, flags), (e) => {
    assert.ok(e instanceof BadParameter, String(e));
    assert.match(e.message, wanted);
    return true;
  });
}

Deno.test("loadConfig() has a default for everything", async () => {
  const { nodename, auth, ...config } = await load("");
  assert.ok(nodename.length > 0);
  assert.ok(auth.clusterName.length > 0);
  assert.deepEqual(config, {
    dataDir: "/var/lib/teleport",
    authServers: ["127.0.0.1:3025"],
    log: { severity: "info", format: "text", output: "stderr" },
    storage: { type: "libsql", path: "/var/lib/teleport/backend/sqlite.db" },
    auditEvents: [],
    proxy: {
      enabled: true,
      sshListenAddr: "0.0.0.0:3023",
      webListenAddr: "0.0.0.0:3080",
      publicAddrs: [],
      sshPublicAddrs: [],
      unregisteredTargets: ["*:22", "*:3022"],
    },
    ssh: {
      enabled: true,
      listenAddr: "0.0.0.0:3022",
      publicAddrs: [],
      labels: {},
      commands: [],
      permitUserEnv: false,
    },
  });
  assert.deepEqual({ ...auth, clusterName: "" }, {
    enabled: true,
    clusterName: "",
    listenAddr: "0.0.0.0:3025",
    publicAddrs: [],
    tokens: [],
    secondFactor: "otp",
    clientIdleTimeoutMs: 0,
    disconnectExpiredCert: false,
    keepAliveIntervalMs: 300_000,
    keepAliveCountMax: 3,
    sessionControlTimeoutMs: 120_000,
    sessionRecording: "node",
    proxyChecksHostKeys: true,
    recordingOnFull: "refuse",
  });
});

const pin = `sha256:${"0a".repeat(32)}`;

/** Each key of the file that applies, with what it does to the configuration. */
const keys: Record<string, [yaml: string, pick: (c: Config) => unknown, wanted: unknown][]> = {
  teleport: [
    ["nodename: db-1", (c) => c.nodename, "db-1"],
    ["data_dir: /srv/t", (c) => c.dataDir, "/srv/t"],
    ["data_dir: /srv/t", (c) => c.storage.path, "/srv/t/backend/sqlite.db"],
    ["data_dir: /srv/t/../u", (c) => c.dataDir, "/srv/u"],
    ["pid_file: /run/t.pid", (c) => c.pidFile, "/run/t.pid"],
    ["auth_token: abc", (c) => c.authToken, "abc"],
    ["auth_token: 0123", (c) => c.authToken, "0123"],
    [`ca_pin: ${pin.toUpperCase().replace("SHA", "sha")}`, (c) => c.caPin, pin],
    ["advertise_ip: 10.1.2.3", (c) => c.advertiseIp, "10.1.2.3"],
    ["advertise_ip: '2001:db8::1'", (c) => c.advertiseIp, "2001:db8::1"],
    ["auth_servers: [a.example.com, '10.0.0.1:4025']", (c) => c.authServers, [
      "a.example.com:3025",
      "10.0.0.1:4025",
    ]],
    ["auth_servers: '[::1]:3025'", (c) => c.authServers, ["[::1]:3025"]],
    ["log: {output: stdout}", (c) => c.log.output, "stdout"],
    ["log: {output: /var/log/t.log}", (c) => c.log.output, "/var/log/t.log"],
    ["log: {severity: DEBUG}", (c) => c.log.severity, "debug"],
    ["log: {severity: warning}", (c) => c.log.severity, "warn"],
    ["log: {format: json}", (c) => c.log.format, "json"],
    ["storage: {audit_events_uri: 'stdout://'}", (c) => c.auditEvents, [{ kind: "stdout" }]],
    [
      "storage: {audit_events_uri: ['file:///srv/log', 'file:///var/lib/teleport/log/', " +
      "'http://127.0.0.1:9/x', {uri: 'https://siem/in', token_file: /t, ca_file: /c}]}",
      (c) => c.auditEvents,
      [
        { kind: "file", directory: "/srv/log" },
        { kind: "http", url: "http://127.0.0.1:9/x" },
        { kind: "http", url: "https://siem/in", tokenFile: "/t", caFile: "/c" },
      ],
    ],
    ["storage: {type: dir, path: /srv/b}", (c) => c.storage, {
      type: "libsql",
      path: "/srv/b/sqlite.db",
    }],
    ["cache:", (c) => c.dataDir, "/var/lib/teleport"],
  ],
  auth_service: [
    ["enabled: no", (c) => c.auth.enabled, false],
    ["enabled: 'true'", (c) => c.auth.enabled, true],
    ["cluster_name: main.example.com", (c) => c.auth.clusterName, "main.example.com"],
    ["listen_addr: 10.0.0.1:4025", (c) => c.auth.listenAddr, "10.0.0.1:4025"],
    ["listen_addr: 10.0.0.1", (c) => c.auth.listenAddr, "10.0.0.1:3025"],
    ["listen_addr: ':4025'", (c) => c.auth.listenAddr, "0.0.0.0:4025"],
    ["listen_addr: '[::]:3025'", (c) => c.auth.listenAddr, "[::]:3025"],
    ["public_addr: a.example.com", (c) => c.auth.publicAddrs, ["a.example.com"]],
    ["public_addr: [a.example.com, 'b:1']", (c) => c.auth.publicAddrs, ["a.example.com", "b:1"]],
    ["tokens: ['proxy,node:s3cret', 'Node:other:x']", (c) => c.auth.tokens, [
      { roles: ["Proxy", "Node"], value: "s3cret" },
      { roles: ["Node"], value: "other:x" },
    ]],
    ["authentication: {type: local, second_factor: off}", (c) => c.auth.secondFactor, "off"],
    ["authentication: {second_factor: otp}", (c) => c.auth.secondFactor, "otp"],
    ["client_idle_timeout: 30m", (c) => c.auth.clientIdleTimeoutMs, 1_800_000],
    ["client_idle_timeout: never", (c) => c.auth.clientIdleTimeoutMs, 0],
    ["disconnect_expired_cert: yes", (c) => c.auth.disconnectExpiredCert, true],
    ["keep_alive_interval: 1m30s", (c) => c.auth.keepAliveIntervalMs, 90_000],
    ["keep_alive_count_max: 5", (c) => c.auth.keepAliveCountMax, 5],
    ["session_control_timeout: 5m", (c) => c.auth.sessionControlTimeoutMs, 300_000],
    ["session_recording: off", (c) => c.auth.sessionRecording, "off"],
    ["session_recording: 'off'", (c) => c.auth.sessionRecording, "off"],
    ["session_recording: node", (c) => c.auth.sessionRecording, "node"],
    ["session_recording: node-sync", (c) => c.auth.sessionRecording, "node-sync"],
    ["session_recording: proxy", (c) => c.auth.sessionRecording, "proxy"],
    ["session_recording: proxy-sync", (c) => c.auth.sessionRecording, "proxy-sync"],
    ["proxy_checks_host_keys: no", (c) => c.auth.proxyChecksHostKeys, false],
    ["session_recording_on_full: continue", (c) => c.auth.recordingOnFull, "continue"],
  ],
  ssh_service: [
    ["enabled: off", (c) => c.ssh.enabled, false],
    ["listen_addr: 127.0.0.1:0", (c) => c.ssh.listenAddr, "127.0.0.1:0"],
    ["public_addr: [n.example.com:22]", (c) => c.ssh.publicAddrs, ["n.example.com:22"]],
    ["labels: {env: prod, kernel: 4.10, on: yes}", (c) => c.ssh.labels, {
      env: "prod",
      kernel: "4.10",
      on: "yes",
    }],
    ["commands: [{name: arch, command: [uname, -p], period: 1h}]", (c) => c.ssh.commands, [
      { name: "arch", command: ["uname", "-p"], periodMs: 3_600_000 },
    ]],
    ["commands: [{name: arch, command: [uname]}]", (c) => c.ssh.commands[0]?.periodMs, 60_000],
    ["commands: [{name: a, command: [a], period: 1ms}]", (c) => c.ssh.commands[0]?.periodMs, 1000],
    ["permit_user_env: yes", (c) => c.ssh.permitUserEnv, true],
    ["pam: {enabled: no, service_name: sshd}", (c) => c.ssh.enabled, true],
    ["enhanced_recording: {enabled: no}", (c) => c.ssh.enabled, true],
  ],
  proxy_service: [
    ["enabled: no", (c) => c.proxy.enabled, false],
    ["listen_addr: 10.0.0.1:23", (c) => c.proxy.sshListenAddr, "10.0.0.1:23"],
    ["web_listen_addr: 10.0.0.1:443", (c) => c.proxy.webListenAddr, "10.0.0.1:443"],
    ["public_addr: p.example.com:443", (c) => c.proxy.publicAddrs, ["p.example.com:443"]],
    ["ssh_public_addr: [p.example.com]", (c) => c.proxy.sshPublicAddrs, ["p.example.com"]],
    ["{https_key_file: /k.pem, https_cert_file: /c.pem}", (c) => c.proxy.httpsKeyFile, "/k.pem"],
    ["{https_key_file: /k.pem, https_cert_file: /c.pem}", (c) => c.proxy.httpsCertFile, "/c.pem"],
    ["unregistered_targets: ['*.x:22', '10.0.0.0/8']", (c) => c.proxy.unregisteredTargets, [
      "*.x:22",
      "10.0.0.0/8",
    ]],
    ["unregistered_targets: []", (c) => c.proxy.unregisteredTargets, []],
    ["kubernetes: {enabled: no}", (c) => c.proxy.enabled, true],
  ],
};

for (const [section, cases] of Object.entries(keys)) {
  for (const [yaml, pick, wanted] of cases) {
    Deno.test(`teleport.yaml: ${section}: ${yaml}`, async () => {
      const separator = yaml.startsWith("{") ? " " : "\n  ";
      assert.deepEqual(pick(await load(`${section}:${separator}${yaml}\n`)), wanted);
    });
  }
}

const refusals: [yaml: string, wanted: RegExp][] = [
  [
    "teleport:\n  nodename: a\n  datadir: /x\n",
    /--config-string: unrecognized configuration key: 'teleport\.datadir' at line 3, did you mean 'data_dir'\?$/,
  ],
  [
    "teleprot: {}\n",
    /unrecognized configuration key: 'teleprot' at line 1, did you mean 'teleport'/,
  ],
  [
    "ssh_service:\n  commands:\n  - name: a\n    command: [a]\n    perod: 1h\n",
    /'ssh_service\.commands\[0\]\.perod' at line 5, did you mean 'period'/,
  ],
  ["auth_service:\n  zzz: 1\n", /unrecognized configuration key: 'auth_service\.zzz' at line 2$/],
  ["- a\n", /must be a mapping of keys to values/],
  ["teleport: 5\n", /'teleport' at line 1 must be a mapping/],
  ["a: 1\n---\nb: 2\n", /one document is expected/],
  ["teleport: {nodename: a\n", /Cannot read the text as YAML: line \d/],
  ["teleport:\n  nodename: a b\n", /'teleport\.nodename' at line 2 is not usable/],
  ["teleport: {ca_pin: 'sha256:ca-pin-hash-goes-here'}", /ca_pin' at line 1 .*64 hexadecimal/],
  ["teleport: {advertise_ip: 0.0.0.0}", /not an IP address that others can reach/],
  ["teleport: {advertise_ip: 'a.b:22'}", /advertise_ip/],
  ["teleport: {auth_servers: []}", /auth_servers' at line 1 must not be empty/],
  ["teleport: {auth_servers: ['a:b']}", /is not an address/],
  ["teleport: {log: {severity: LOUD}}", /log\.severity' at line 1 must be DEBUG, INFO/],
  ["teleport: {log: {output: syslog}}", /log\.output' at line 1 is not supported by this version/],
  ["teleport: {log: {format: [level]}}", /is not supported by this version: choosing the fields/],
  ["teleport: {log: {format: xml}}", /must be text or json/],
  ["teleport: {storage: {type: etcd}}", /is not supported by this version: etcd; use dir/],
  ["teleport: {storage: {type: foo}}", /storage\.type' at line 1 must be dir/],
  [
    "teleport:\n  storage:\n    peers: [a]\n",
    /'teleport\.storage\.peers' at line 3 is not supported/,
  ],
  ["teleport: {ciphers: [x]}", /'teleport\.ciphers' at line 1 is not supported by this version/],
  ["teleport: {connection_limits: {max_users: 1}}", /connection_limits' .*not supported/],
  ["teleport: {cache: {enabled: yes}}", /cache' at line 1 is not supported/],
  ["auth_service: {listen_addr: 3025}", /lacks a host: write it like 0\.0\.0\.0:3025/],
  ["auth_service: {listen_addr: 'a:99999'}", /port above 65535/],
  ["auth_service: {enabled: maybe}", /'auth_service\.enabled' at line 1 must be yes or no/],
  ["auth_service: {cluster_name: 'a b'}", /cannot be a cluster name/],
  ["auth_service: {tokens: ['s3cret']}", /auth_service\.tokens\[0\]' must be roles, a colon/],
  ["auth_service: {tokens: ['admin:s3cret']}", /"admin" is no role to join with/],
  ["auth_service: {tokens: ['trusted_cluster:x']}", /'trusted_cluster' are not supported/],
  ["auth_service: {tokens: ['node:']}", /A token has 1 to 255 visible ASCII/],
  ["auth_service: {tokens: ['node:/does/not/exist']}", /cannot read \/does\/not\/exist/],
  [
    "auth_service: {authentication: {type: oidc}}",
    /not supported by this version: oidc; use local/,
  ],
  ["auth_service: {authentication: {second_factor: u2f}}", /not supported by this version: u2f/],
  ["auth_service: {authentication: {second_factor: sms}}", /must be otp or off/],
  ["auth_service: {authentication: {local_auth: no}}", /local_auth' at line 1 is not supported/],
  ["auth_service: {session_recording: yes}", /session_recording' at line 1 must be node or /],
  ["auth_service: {session_recording: auth}", /must be node or node-sync or proxy or proxy-sync/],
  ["auth_service: {proxy_checks_host_keys: maybe}", /must be yes or no/],
  ["auth_service: {session_recording_on_full: stop}", /on_full' at line 1 must be refuse or cont/],
  ["auth_service: {session_control_timeout: never}", /must be at least 1s/],
  ["teleport: {storage: {audit_events_uri: 'dynamodb://events'}}", /not supported.*dynamodb:/],
  ["teleport: {storage: {audit_events_uri: [nonsense]}}", /must be a URI: file:\/\/\/path, stdout/],
  ["teleport: {storage: {audit_events_uri: 'file://host/x'}}", /a directory of this host/],
  ["teleport: {storage: {audit_events_uri: 'https://u:p@siem'}}", /token into token_file/],
  [
    "teleport: {storage: {audit_events_uri: {uri: 'http://siem', token_file: /t}}}",
    /a token goes by https/,
  ],
  [
    "teleport: {storage: {audit_events_uri: {uri: 'https://siem', token_file: t}}}",
    /must be an absolute path/,
  ],
  ["teleport: {storage: {audit_events_uri: {uri: 'stdout://', token_file: /t}}}", /https.* only/],
  ["auth_service: {client_idle_timeout: 5}", /cannot read "5" as a duration/i],
  ["auth_service: {client_idle_timeout: 1ms}", /must be at least 1s/],
  ["auth_service: {keep_alive_interval: never}", /must be at least 1s/],
  ["auth_service: {keep_alive_count_max: 0}", /must be a whole number from 1 to 1000/],
  ["auth_service: {keep_alive_count_max: 1.5}", /must be a whole number/],
  ["ssh_service: {labels: {'a b': c}}", /labels\.a b' at line 1 .*cannot be a label/],
  ['ssh_service: {labels: {a: "b\\nc"}}', /must not have control characters/],
  ["ssh_service: {labels: {a: [b]}}", /'ssh_service\.labels\.a' at line 1 must be text/],
  ["ssh_service: {commands: [{name: a}]}", /missing key 'ssh_service\.commands\[0\]\.command'/],
  ["ssh_service: {commands: [{name: a, command: []}]}", /must not be empty/],
  [
    "ssh_service: {commands: [{name: a, command: [a]}, {name: a, command: [b]}]}",
    /commands\[1\]\.name' at line 1 is the name of another command/,
  ],
  ["ssh_service: {pam: {enabled: yes}}", /pam' at line 1 is not supported by this version: PAM/],
  [
    "proxy_service: {tunnel_listen_addr: 'a:3024'}",
    /not supported by this version: reverse tunnels/,
  ],
  ["proxy_service: {https_key_file: /k}", /https_key_file and https_cert_file belong together/],
  ["proxy_service: {unregistered_targets: ['a b']}", /unregistered_targets\[0\]' .*no target/],
  ["proxy_service: {kubernetes: {enabled: yes}}", /not supported by this version: Kubernetes/],
  [
    "auth_service: {enabled: no}\nssh_service: {enabled: no}\nproxy_service: {enabled: no}\n",
    /No service is enabled/,
  ],
];

for (const [yaml, wanted] of refusals) {
  Deno.test(`teleport.yaml refuses ${JSON.stringify(yaml)}`, () => refused(yaml, wanted));
}

Deno.test("an error about a token never shows the token", async () => {
  const secret = "hunter2-hunter2";
  for (const text of [secret, `node:${secret} ${secret}`, `node:${secret},x`]) {
    await assert.rejects(load(`auth_service: {tokens: ['${text}']}`), (e) => {
      assert.doesNotMatch((e as Error).message, /hunter2/);
      return true;
    });
  }
  await assert.rejects(load(`teleport: {auth_token: '${secret} x'}`), (e) => {
    assert.doesNotMatch((e as Error).message, /hunter2/);
    return true;
  });
});

const flagCases: [ConfigFlags, (c: Config) => unknown, unknown][] = [
  [{ nodename: "flag" }, (c) => c.nodename, "flag"],
  [{ pidFile: "/run/flag.pid" }, (c) => c.pidFile, "/run/flag.pid"],
  [{ token: "flag-token" }, (c) => c.authToken, "flag-token"],
  [{ caPin: pin }, (c) => c.caPin, pin],
  [{ advertiseIp: "10.9.9.9" }, (c) => c.advertiseIp, "10.9.9.9"],
  [{ authServers: ["flag.example.com", "b:1"] }, (c) => c.authServers, [
    "flag.example.com:3025",
    "b:1",
  ]],
  [{ authServers: [] }, (c) => c.authServers, ["file.example.com:3025"]],
  [{ listenIp: "127.0.0.1" }, (c) => c.auth.listenAddr, "127.0.0.1:4025"],
  [{ listenIp: "127.0.0.1" }, (c) => c.proxy.webListenAddr, "127.0.0.1:3080"],
  [{ listenIp: "::1" }, (c) => c.ssh.listenAddr, "[::1]:3022"],
  [{ roles: "node" }, (c) => [c.auth, c.proxy, c.ssh].map((s) => s.enabled), [false, false, true]],
  [{ roles: "auth, Proxy" }, (c) => [c.auth, c.proxy, c.ssh].map((s) => s.enabled), [
    true,
    true,
    false,
  ]],
  [{}, (c) => c.ssh.enabled, false],
  [{ labels: "a=b" }, (c) => [c.ssh.labels, c.ssh.commands], [{ a: "b" }, []]],
  [{ labels: 'kernel=[1h:"uname -r"]' }, (c) => [c.ssh.labels, c.ssh.commands], [{}, [
    { name: "kernel", command: ["uname", "-r"], periodMs: 3_600_000 },
  ]]],
  [{}, (c) => [c.ssh.labels, c.ssh.commands.length], [{ from: "file" }, 1]],
  [{ permitUserEnv: true }, (c) => c.ssh.permitUserEnv, true],
  [{ debug: true }, (c) => c.log.severity, "debug"],
];

const file = `
teleport: {nodename: file, pid_file: /run/file.pid, auth_token: file-token,
  auth_servers: [file.example.com], log: {severity: ERROR}}
auth_service: {listen_addr: '10.0.0.1:4025'}
ssh_service: {enabled: no, labels: {from: file}, commands: [{name: c, command: [c]}]}
`;

for (const [flags, pick, wanted] of flagCases) {
  Deno.test(`flags win over the file: ${JSON.stringify(flags)}`, async () => {
    assert.deepEqual(pick(await load(file, flags)), wanted);
  });
}

Deno.test("a flag that cannot be used is named", async () => {
  await refused("", /--roles: "kube" is no role/, { roles: "node,kube" });
  await refused("", /--ca-pin: A CA pin is sha256/, { caPin: "sha256:12" });
  await refused("", /--nodename: /, { nodename: "a b" });
  await refused("", /--listen-ip: "host" is not an IP address/, { listenIp: "host" });
  await refused("", /--advertise-ip: /, { advertiseIp: "nowhere" });
  await refused("", /--auth-server: /, { authServers: ["a:b:c"] });
  await refused("", /--labels: .*'a' has no value/, { labels: "a" });
  await refused("", /--labels: .*cannot be a label/, { labels: '"a b"=c' });
});

Deno.test("a join token's file is left to whoever joins, static tokens are read at once", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const path = `${directory}/token`;
    await Deno.writeTextFile(path, "from-file\n");
    const config = await load(
      `teleport: {auth_token: ${path}}\nauth_service: {tokens: ['node:${path}']}\n`,
    );
    assert.equal(config.authToken, path);
    assert.deepEqual(config.auth.tokens, [{ roles: ["Node"], value: "from-file" }]);
    assert.equal((await load("", { token: "/gone" })).authToken, "/gone");
    await Deno.writeTextFile(path, "x".repeat(5000));
    await assert.rejects(
      load(`auth_service: {tokens: ['node:${path}']}\n`),
      /cannot read .*too long for a token/,
    );
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("loadConfig() reads the named file, and says when it cannot", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const path = `${directory}/teleport.yaml`;
    await assert.rejects(loadConfig({ file: path }), (e) => {
      assert.ok(e instanceof NotFound);
      assert.match(e.message, /no configuration file .*'teleport configure' prints one/);
      return true;
    });
    await assert.rejects(loadConfig({ file: directory }), /Cannot read the configuration file/);
    await Deno.writeTextFile(path, "teleport: {nodename: from-file}\n");
    assert.equal((await loadConfig({ file: path })).nodename, "from-file");
    assert.equal((await loadConfig({ flags: { config: path } })).nodename, "from-file");
    await Deno.writeTextFile(path, "teleport:\n  nodname: x\n");
    await assert.rejects(loadConfig({ file: path }), (e) => {
      assert.equal(
        (e as Error).message,
        `${path}: unrecognized configuration key: 'teleport.nodname' at line 2, ` +
          "did you mean 'nodename'?",
      );
      return true;
    });
    await Deno.writeTextFile(path, " ".repeat(2 * 1024 * 1024));
    await assert.rejects(loadConfig({ file: path }), /it is too long/);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("TELEPORT_CONFIG holds the configuration in base64", async () => {
  const text = toBase64(utf8Encode("teleport: {nodename: from-env}\n"));
  const env = (name: string) => name === "TELEPORT_CONFIG" ? text : undefined;
  assert.equal((await loadConfig({ env })).nodename, "from-env");
  const configString = toBase64(utf8Encode("teleport: {nodename: from-flag}\n"));
  assert.equal((await loadConfig({ env, flags: { configString } })).nodename, "from-flag");
  await assert.rejects(loadConfig({ configString: "teleport:" }), /must be YAML in base64/);
});

Deno.test("the sample configuration loads as it stands", async () => {
  const sample = sampleConfig();
  const config = await load(sample);
  assert.deepEqual(config.auth.tokens, [{ roles: ["Proxy", "Node"], value: config.authToken }]);
  assert.match(config.authToken ?? "", /^[0-9a-f]{48}$/);
  assert.deepEqual(config.ssh.labels, { env: "staging" });
  assert.deepEqual(config.ssh.commands.map(({ name, periodMs }) => [name, periodMs]), [
    ["hostname", 60_000],
    ["arch", 3_600_000],
  ]);
  assert.notEqual(sampleConfig(), sample, "the token is a new one each time");
});

Deno.test("what stands in comments of the sample loads as well, but for the pin's placeholder", async () => {
  const text = sampleConfig()
    .replace(/^(\s*)# (\w+: .*)$/gm, "$1$2")
    .replace("sha256:ca-pin-hash-goes-here", pin);
  const config = await load(text);
  assert.equal(config.auth.clusterName, "main");
  assert.deepEqual(config.proxy.publicAddrs, ["teleport.example.com:3080"]);
  assert.deepEqual(config.proxy.unregisteredTargets, ["*.example.com:22", "10.0.0.0/8:22"]);
});

/** For tests: the hidden verbs as processes of their own, `deno run -A test_entry.ts <verb> …`. */
import { runScp, runSftpServer } from "./entry.ts";

const [verb, ...args] = Deno.args;
Deno.exit(verb === "scp" ? await runScp(args) : await runSftpServer(args));

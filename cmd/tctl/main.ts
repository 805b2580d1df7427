/** tctl: administers a cluster. */
import { main } from "../../lib/cli/program.ts";
import { program } from "./program.ts";

await main(program);

/** The verbs of tctl; each is loaded when it is used. */
import type { Program } from "../../lib/cli/program.ts";
import { globals } from "./globals.ts";

export const program: Program = {
  name: "tctl",
  summary: "Administers a Teleport cluster: users, nodes, join tokens, roles, certificates.",
  globals,
  commands: [
    {
      name: "users add",
      summary: "add a user and print the link to sign up",
      load: () => import("./users_add.ts"),
    },
    { name: "users ls", summary: "list users", load: () => import("./users_ls.ts") },
    {
      name: "users rm",
      aliases: ["users del"],
      summary: "delete users",
      load: () => import("./users_rm.ts"),
    },
    {
      name: "users reset",
      summary: "print a link to set a new password and second factor",
      load: () => import("./users_reset.ts"),
    },
    {
      name: "users update",
      summary: "change a user's roles or logins",
      load: () => import("./users_update.ts"),
    },
    {
      name: "nodes add",
      summary: "make a join token and print the command for the new node",
      load: () => import("./nodes_add.ts"),
    },
    { name: "nodes ls", summary: "list nodes", load: () => import("./nodes_ls.ts") },
    {
      name: "tokens add",
      summary: "make a join token",
      load: () => import("./tokens_add.ts"),
    },
    { name: "tokens ls", summary: "list join tokens", load: () => import("./tokens_ls.ts") },
    {
      name: "tokens rm",
      aliases: ["tokens del"],
      summary: "delete a join token",
      load: () => import("./tokens_rm.ts"),
    },
    {
      name: "sessions ls",
      aliases: ["sessions list"],
      summary: "list the sessions that run now",
      load: () => import("./sessions_ls.ts"),
    },
    {
      name: "sessions kill",
      summary: "end a session for everybody who is in it",
      load: () => import("./sessions_kill.ts"),
    },
    {
      name: "recordings ls",
      summary: "list the recordings of sessions",
      load: () => import("./recordings_ls.ts"),
    },
    {
      name: "recordings export",
      summary: "write the recording of a session to a file",
      load: () => import("./recordings_export.ts"),
    },
    {
      name: "recordings rm",
      aliases: ["recordings del"],
      summary: "delete the recording of a session",
      load: () => import("./recordings_rm.ts"),
    },
    {
      name: "events ls",
      aliases: ["events list"],
      summary: "search the audit log",
      load: () => import("./events_ls.ts"),
    },
    {
      name: "events watch",
      summary: "follow the audit log",
      load: () => import("./events_watch.ts"),
    },
    {
      name: "events export",
      summary: "write audit events as JSON lines",
      load: () => import("./events_export.ts"),
    },
    {
      name: "auth export",
      summary: "print the cluster's authorities, as OpenSSH and TLS want them",
      load: () => import("./auth_export.ts"),
    },
    {
      name: "auth sign",
      summary: "make a key and a certificate for a user or a host",
      load: () => import("./auth_sign.ts"),
    },
    {
      name: "create",
      summary: "create or update resources from YAML or JSON",
      load: () => import("./create.ts"),
    },
    { name: "get", summary: "print resources", load: () => import("./get.ts") },
    {
      name: "rm",
      aliases: ["del"],
      summary: "delete a resource",
      load: () => import("./rm.ts"),
    },
    {
      name: "status",
      summary: "show the cluster and its CA pin",
      load: () => import("./status.ts"),
    },
    { name: "version", summary: "print the version", load: () => import("./version.ts") },
  ],
};

/** Schema of the role resource, version v3. */

import { z } from "zod";
import { BadParameter } from "../base/errors.ts";
import { assertPrincipal } from "../cert/names.ts";
import {
  attempt,
  bool,
  duration,
  integer,
  later,
  line,
  object,
  oneOrMany,
  optional,
  withDefault,
} from "./fields.ts";
import { parseTemplate } from "./template.ts";
import { JOIN_MODES, RULE_RESOURCES, RULE_VERBS } from "./types.ts";
import type { JoinMode, RoleConditions, RuleVerb } from "./types.ts";
import { suggestion } from "./suggest.ts";

const options = object({
  max_session_ttl: withDefault(duration({ minMs: 60_000 }), () => "30h0m0s"),
  forward_agent: withDefault(bool(), () => false),
  port_forwarding: withDefault(bool(), () => true),
  permit_x11_forwarding: withDefault(bool(), () => false),
  cert_format: withDefault(z.enum(["standard", "oldssh"]), () => "standard" as const),
  client_idle_timeout: withDefault(duration({ never: true, minMs: 1000 }), () => "never"),
  disconnect_expired_cert: withDefault(bool(), () => false),
  max_connections: withDefault(integer(0, 1_000_000), () => 0),
  max_sessions: withDefault(integer(0, 1_000_000), () => 0),
  enhanced_recording: later("enhanced recording"),
  request_access: later("access requests", (value) => value === null || value === "optional"),
  request_prompt: later("access requests"),
});

const login = z.string().transform((text, context) => {
  attempt(context, () => assertLogin(text));
  return text;
});

/** A literal login or a template for logins. */
function assertLogin(text: string): void {
  const template = parseTemplate(text);
  if (template.type === "matcher") {
    throw new BadParameter("regexp.match and regexp.not_match are for labels only");
  }
  if (template.type === "literal") {
    if (text === "*") throw new BadParameter("'*' is not allowed: name the logins");
    assertPrincipal(text);
  }
}

const labelSelector = z.record(
  z.string().min(1).max(128),
  oneOrMany(z.string().max(1024)),
).transform((selector, context) => {
  for (const [key, values] of Object.entries(selector)) {
    if (key.includes("{{")) {
      context.addIssue({
        code: "custom",
        path: [key],
        message: "is not usable: templates are for the values of labels",
      });
    }
    if (key === "*" && (values.length !== 1 || values[0] !== "*")) {
      context.addIssue({
        code: "custom",
        path: [key],
        message: "is not usable: the label '*' takes only the value '*'",
      });
    }
    for (const [index, value] of values.entries()) {
      attempt(context, () => parseTemplate(value), [key, index]);
    }
  }
  return selector;
});

const rule = object({
  resources: z.array(oneOf("resource", [...RULE_RESOURCES, "*"])).min(1),
  verbs: z.array(oneOf("verb", [...RULE_VERBS, "*"])).min(1)
    .transform((verbs) => verbs as (RuleVerb | "*")[]),
  where: later("'where' expressions in rules"),
  actions: later("'actions' in rules"),
});

const joinRule = object({
  name: line(128),
  roles: z.array(line(255)).min(1),
  kinds: withDefault(z.array(oneOf("kind of session", ["ssh", "k8s", "*"])).min(1), () => ["ssh"]),
  modes: z.array(oneOf("way to join a session", [...JOIN_MODES, "*"])).min(1)
    .transform((modes) => modes as (JoinMode | "*")[]),
});

function oneOf(what: string, known: readonly string[]) {
  return z.string().superRefine((value, context) => {
    if (known.includes(value)) return;
    const meant = suggestion(value, known);
    context.addIssue({
      code: "custom",
      message: `is no ${what} that is known${
        meant === undefined ? `: use one of ${known.join(", ")}` : `, did you mean '${meant}'?`
      }`,
    });
  });
}

const conditionFields = {
  logins: withDefault(z.array(login), () => []),
  namespaces: withDefault(z.array(z.enum(["default", "*"])), () => ["default" as const]),
  node_labels: optional(labelSelector),
  kubernetes_groups: optional(z.array(line())),
  kubernetes_users: optional(z.array(line())),
  request: later("access requests"),
  join_sessions: optional(z.array(joinRule).max(100)),
  rules: withDefault(z.array(rule), () => []),
};

const conditions = object(conditionFields);
const emptyConditions = () => conditions.parse({});

/** Labels that were left out match every node where there are logins to use on them. */
function allowed(read: z.output<typeof conditions>): RoleConditions {
  return complete(read, read.logins.length > 0 ? { "*": ["*"] } : {});
}

function denied(read: z.output<typeof conditions>): RoleConditions {
  return complete(read, {});
}

function complete(
  read: z.output<typeof conditions>,
  labels: Record<string, string[]>,
): RoleConditions {
  return { ...read, node_labels: read.node_labels ?? labels } as RoleConditions;
}

export const roleSpec = object({
  options: withDefault(options, () => options.parse({})),
  allow: withDefault(conditions, emptyConditions).transform(allowed),
  deny: withDefault(conditions, emptyConditions).transform(denied),
});

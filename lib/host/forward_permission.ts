/** Who may forward what: the roles must permit it, and the certificate must. */
import type { SessionOptions } from "../access/mod.ts";
import { AccessDenied } from "../base/errors.ts";
import type { UserIdentity } from "../cert/identity.ts";

export type Forwarding = "port" | "agent" | "x11";

const names = {
  port: {
    what: "port forwarding",
    option: "port_forwarding",
    extension: "permit-port-forwarding",
  },
  agent: {
    what: "agent forwarding",
    option: "forward_agent",
    extension: "permit-agent-forwarding",
  },
  x11: {
    what: "X11 forwarding",
    option: "permit_x11_forwarding",
    extension: "permit-X11-forwarding",
  },
} as const;

/** @throws AccessDenied with what the user is to be told */
export function assertMayForward(
  kind: Forwarding,
  { identity, options }: { readonly identity: UserIdentity; readonly options: SessionOptions },
): void {
  const { what, option, extension } = names[kind];
  const [byRole, byCertificate] = {
    port: [options.portForwarding, identity.permitPortForwarding],
    agent: [options.forwardAgent, identity.permitAgentForwarding],
    x11: [options.x11, identity.permitX11Forwarding],
  }[kind] as [boolean, boolean];
  if (!byRole) {
    throw new AccessDenied(`no role of user "${identity.user}" permits ${what} (${option})`);
  }
  if (!byCertificate) {
    throw new AccessDenied(
      `the certificate does not permit ${what} (${extension}): log in again if your roles do`,
    );
  }
  if (kind === "port" && identity.forceCommand !== undefined) {
    throw new AccessDenied("the certificate is for one command only, and not for port forwarding");
  }
}

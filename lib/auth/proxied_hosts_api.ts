/** What proxies call that end connections in a host's place. */
import type { ApiService } from "../api/service.ts";
import { AccessDenied } from "../base/errors.ts";
import { log } from "../base/log.ts";
import type { AuthParts } from "./parts.ts";
import { ProxiedHosts } from "./proxied_hosts.ts";

export function proxiedHostsApi(
  { settings, hub, signer }: AuthParts,
): Pick<ApiService, "sign.proxied_host"> {
  const hosts = new ProxiedHosts({
    cluster: settings.clusterName,
    ownNames: settings.ownNames ?? [],
    hub,
    signer,
  });
  return {
    "sign.proxied_host": ({ host, public_key }, { caller }) => {
      if (caller.kind !== "proxy") throw new AccessDenied("only proxies stand in for hosts");
      const cert = hosts.sign(host, public_key, caller.hostId);
      log("auth").info("a proxy stands in for a host", { proxy: caller.hostId, host });
      return { cert };
    },
  };
}

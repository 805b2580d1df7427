/** Links that complete a user's account: `https://proxy:3080/web/invite/<token>`, `…/web/reset/…`. */
import { BadParameter } from "../base/errors.ts";
import { parseProxyAddress, type ProxyAddress } from "./proxy_address.ts";

/** @throws BadParameter */
export function parseSignupLink(link: string): { proxy: ProxyAddress; token: string } {
  const match = /^https:\/\/([^/?#@\s]+)\/web\/(?:invite|reset|newuser)\/([0-9A-Za-z_-]{8,128})\/?$/
    .exec(link.trim());
  const [, address, token] = match ?? [];
  if (address === undefined || token === undefined) {
    throw new BadParameter(
      `${JSON.stringify(link.slice(0, 200))} is not an invitation or reset link: ` +
        "it looks like https://proxy.example.com:3080/web/invite/4f2a…",
    );
  }
  const proxy = parseProxyAddress(address);
  // A link follows the rules of URLs, where no port means 443.
  const hasPort = /:\d+$/.test(address);
  return { proxy: { ...proxy, webPort: hasPort ? proxy.webPort : 443 }, token };
}

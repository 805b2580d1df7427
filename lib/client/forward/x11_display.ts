/** The X display that DISPLAY names: how it is reached, and how xauth calls it. Pure. */
import { BadParameter } from "../../base/errors.ts";

export interface X11Display {
  /** The socket of a server on this computer, or the port of one elsewhere. */
  address: { path: string } | { host: string; port: number };
  screen: number;
  /** What to ask xauth for. */
  name: string;
}

const firstPort = 6000;

/**
 * ":0", ":0.1", "unix:0", "host:10.0", "[::1]:10", or the path of a socket with ":0" at its end.
 * @throws BadParameter
 */
export function parseDisplay(text: string): X11Display {
  const match = /^(.*):(\d{1,5})(?:\.(\d{1,5}))?$/.exec(text);
  const [, host = "", number = "", screen = "0"] = match ?? [];
  const port = firstPort + Number(number);
  if (
    !match || port > 65_535 || !/^(?:\/[\w./-]*|[\w.-]+(?:\/unix)?|\[[0-9a-fA-F:.]+\]|)$/.test(host)
  ) {
    throw new BadParameter(
      `DISPLAY is ${JSON.stringify(text.slice(0, 200))}, which is no X display: it is like :0 or ` +
        "localhost:10.0",
    );
  }
  const rest = { screen: Number(screen), name: text };
  if (host.startsWith("/")) return { address: { path: `${host}:${number}` }, ...rest };
  if (host === "" || host === "unix" || host.endsWith("/unix")) {
    return { address: { path: `/tmp/.X11-unix/X${Number(number)}` }, ...rest };
  }
  const address = { host: host.replace(/^\[(.*)\]$/, "$1"), port };
  // xauth keeps what sshd's own forwarding put there under this name.
  const name = host === "localhost" ? `unix:${text.slice("localhost:".length)}` : text;
  return { address, screen: rest.screen, name };
}

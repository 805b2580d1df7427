const given = new Set<number>();

/** A TCP port of loopback that nothing listens on now, never the same twice in this process. */
export function freePort(): number {
  while (true) {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = listener.addr as Deno.NetAddr;
    listener.close();
    if (!given.has(port)) {
      given.add(port);
      return port;
    }
  }
}

/** Whether somebody listens on a port of loopback. */
export async function canConnect(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return true;
  } catch {
    return false;
  }
}

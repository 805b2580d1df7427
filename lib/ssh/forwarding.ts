/** What forwarding says on the wire: TCP (RFC 4254 §7), X11 (§6.3) and where a connection is from. */
import { type WireReader, WireWriter } from "../sshwire/codec.ts";

/** Where one side listens for the other. An empty host means all addresses, as does "*". */
export interface ForwardBind {
  host: string;
  /** 0 lets the listening side choose. */
  port: number;
}

/** Where a forwarded connection came from, as the other side tells it. */
export interface Origin {
  host: string;
  port: number;
}

/** The fields of a `direct-tcpip` channel. */
export interface DirectTcpip {
  host: string;
  port: number;
  originHost: string;
  originPort: number;
}

/** The fields of a `forwarded-tcpip` channel. */
export interface ForwardedTcpip {
  /** As the client asked to have it bound, not as it was: it is how the client knows it again. */
  connectedHost: string;
  connectedPort: number;
  originHost: string;
  originPort: number;
}

/** The fields of an `x11-req` channel request. */
export interface X11Request {
  /** Only the first connection is to be forwarded. */
  singleConnection: boolean;
  /** E.g. "MIT-MAGIC-COOKIE-1". */
  protocol: string;
  /** In hexadecimal digits. */
  cookie: string;
  screen: number;
}

const maxPort = 65_535;
const maxHost = 1024;

export function isPort(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value <= maxPort;
}

/** undefined for what no system could bind. */
export function readBind(fields: WireReader): ForwardBind | undefined {
  const bind = { host: fields.utf8(), port: fields.u32() };
  fields.end();
  return isPort(bind.port) && isHost(bind.host) ? bind : undefined;
}

export function writeBind({ host, port }: ForwardBind): Uint8Array {
  return new WireWriter().string(host).u32(port).bytes();
}

/** undefined for what no system could connect to. */
export function readDirectTcpip(fields: WireReader): DirectTcpip | undefined {
  const target = {
    host: fields.utf8(),
    port: fields.u32(),
    originHost: fields.utf8(),
    originPort: fields.u32(),
  };
  fields.end();
  return isPort(target.port) && isHost(target.host) ? target : undefined;
}

export function writeDirectTcpip(host: string, port: number, origin: Origin): Uint8Array {
  return new WireWriter().string(host).u32(port).string(origin.host).u32(origin.port).bytes();
}

export function readForwardedTcpip(fields: WireReader): ForwardedTcpip {
  const forwarded = {
    connectedHost: fields.utf8(),
    connectedPort: fields.u32(),
    originHost: fields.utf8().slice(0, maxHost),
    originPort: fields.u32(),
  };
  fields.end();
  return forwarded;
}

export function writeForwardedTcpip(forwarded: ForwardedTcpip): Uint8Array {
  const { connectedHost, connectedPort, originHost, originPort } = forwarded;
  return new WireWriter().string(connectedHost).u32(connectedPort).string(originHost)
    .u32(originPort).bytes();
}

export function readOrigin(fields: WireReader): Origin {
  const origin = { host: fields.utf8().slice(0, maxHost), port: fields.u32() };
  fields.end();
  return origin;
}

export function writeOrigin({ host, port }: Origin): Uint8Array {
  return new WireWriter().string(host).u32(port).bytes();
}

/** undefined for what is no authorization: it is about to be told to a program. */
export function readX11(fields: WireReader): X11Request | undefined {
  const request = {
    singleConnection: fields.bool(),
    protocol: fields.utf8(),
    cookie: fields.utf8(),
    screen: fields.u32(),
  };
  fields.end();
  const isValid = /^[A-Za-z0-9-]{1,64}$/.test(request.protocol) &&
    /^(?:[0-9A-Fa-f]{2}){1,128}$/.test(request.cookie) && request.screen <= 0xffff;
  return isValid ? request : undefined;
}

export function writeX11({ singleConnection, protocol, cookie, screen }: X11Request): Uint8Array {
  return new WireWriter().bool(singleConnection).string(protocol).string(cookie).u32(screen)
    .bytes();
}

function isHost(text: string): boolean {
  return text.length <= maxHost && !text.includes("\0");
}

/** The messages of user authentication (RFC 4252) and of channels (RFC 4254), as they are sent. */
import { WireWriter } from "../sshwire/codec.ts";

export const MSG = {
  DISCONNECT: 1,
  IGNORE: 2,
  UNIMPLEMENTED: 3,
  DEBUG: 4,
  SERVICE_REQUEST: 5,
  SERVICE_ACCEPT: 6,
  EXT_INFO: 7,
  USERAUTH_REQUEST: 50,
  USERAUTH_FAILURE: 51,
  USERAUTH_SUCCESS: 52,
  USERAUTH_BANNER: 53,
  USERAUTH_PK_OK: 60,
  GLOBAL_REQUEST: 80,
  REQUEST_SUCCESS: 81,
  REQUEST_FAILURE: 82,
  CHANNEL_OPEN: 90,
  CHANNEL_OPEN_CONFIRMATION: 91,
  CHANNEL_OPEN_FAILURE: 92,
  CHANNEL_WINDOW_ADJUST: 93,
  CHANNEL_DATA: 94,
  CHANNEL_EXTENDED_DATA: 95,
  CHANNEL_EOF: 96,
  CHANNEL_CLOSE: 97,
  CHANNEL_REQUEST: 98,
  CHANNEL_SUCCESS: 99,
  CHANNEL_FAILURE: 100,
} as const;

/** Reasons of DISCONNECT, RFC 4253 §11.1. */
export const DISCONNECT = {
  PROTOCOL_ERROR: 2,
  KEY_EXCHANGE_FAILED: 3,
  SERVICE_NOT_AVAILABLE: 7,
  CONNECTION_LOST: 10,
  BY_APPLICATION: 11,
  NO_MORE_AUTH_METHODS: 14,
} as const;

/** Reasons of CHANNEL_OPEN_FAILURE, RFC 4254 §5.1. */
export const OPEN_FAILURE = {
  PROHIBITED: 1,
  CONNECT_FAILED: 2,
  UNKNOWN_TYPE: 3,
  RESOURCE_SHORTAGE: 4,
} as const;

function message(type: number): WireWriter {
  return new WireWriter().u8(type);
}

export function disconnect(reason: number, text: string): Uint8Array {
  return message(MSG.DISCONNECT).u32(reason).string(text).string("").bytes();
}

export function unimplemented(sequenceNumber: number): Uint8Array {
  return message(MSG.UNIMPLEMENTED).u32(sequenceNumber).bytes();
}

export function serviceRequest(name: string): Uint8Array {
  return message(MSG.SERVICE_REQUEST).string(name).bytes();
}

export function serviceAccept(name: string): Uint8Array {
  return message(MSG.SERVICE_ACCEPT).string(name).bytes();
}

export function extInfo(extensions: Record<string, string>): Uint8Array {
  const entries = Object.entries(extensions);
  const writer = message(MSG.EXT_INFO).u32(entries.length);
  for (const [name, value] of entries) writer.string(name).string(value);
  return writer.bytes();
}

export function authFailure(): Uint8Array {
  return message(MSG.USERAUTH_FAILURE).string("publickey").bool(false).bytes();
}

export function authSuccess(): Uint8Array {
  return message(MSG.USERAUTH_SUCCESS).bytes();
}

export function authBanner(text: string): Uint8Array {
  return message(MSG.USERAUTH_BANNER).string(text).string("").bytes();
}

export function authKeyOk(algorithm: string, blob: Uint8Array): Uint8Array {
  return message(MSG.USERAUTH_PK_OK).string(algorithm).string(blob).bytes();
}

/** A request with a public key up to its signature; a signature covers it behind the session id. */
export function publicKeyRequest(
  user: string,
  algorithm: string,
  blob: Uint8Array,
  isSigned: boolean,
): WireWriter {
  return message(MSG.USERAUTH_REQUEST).string(user).string("ssh-connection").string("publickey")
    .bool(isSigned).string(algorithm).string(blob);
}

export function globalRequest(name: string, wantReply: boolean): WireWriter {
  return message(MSG.GLOBAL_REQUEST).string(name).bool(wantReply);
}

export function requestSuccess(fields?: Uint8Array): Uint8Array {
  return message(MSG.REQUEST_SUCCESS).raw(fields ?? new Uint8Array(0)).bytes();
}

export function requestFailure(): Uint8Array {
  return message(MSG.REQUEST_FAILURE).bytes();
}

export interface ChannelOffer {
  /** The opener's number. */
  id: number;
  window: number;
  maxPacket: number;
}

export function channelOpen(type: string, offer: ChannelOffer): WireWriter {
  return message(MSG.CHANNEL_OPEN).string(type).u32(offer.id).u32(offer.window).u32(
    offer.maxPacket,
  );
}

export function channelOpenConfirmation(remoteId: number, offer: ChannelOffer): Uint8Array {
  return message(MSG.CHANNEL_OPEN_CONFIRMATION).u32(remoteId).u32(offer.id).u32(offer.window)
    .u32(offer.maxPacket).bytes();
}

export function channelOpenFailure(remoteId: number, reason: number, text: string): Uint8Array {
  return message(MSG.CHANNEL_OPEN_FAILURE).u32(remoteId).u32(reason).string(text).string("")
    .bytes();
}

export function windowAdjust(remoteId: number, bytes: number): Uint8Array {
  return message(MSG.CHANNEL_WINDOW_ADJUST).u32(remoteId).u32(bytes).bytes();
}

export function channelMessage(
  type: 96 | 97 | 99 | 100,
  remoteId: number,
): Uint8Array {
  return message(type).u32(remoteId).bytes();
}

export function channelRequest(remoteId: number, type: string, wantReply: boolean): WireWriter {
  return message(MSG.CHANNEL_REQUEST).u32(remoteId).string(type).bool(wantReply);
}

/** What stands before the bytes in CHANNEL_DATA, and in CHANNEL_EXTENDED_DATA for stderr. */
export function dataHeader(remoteId: number, length: number, isStderr: boolean): Uint8Array {
  const header = new Uint8Array(isStderr ? 13 : 9);
  const view = new DataView(header.buffer);
  header[0] = isStderr ? MSG.CHANNEL_EXTENDED_DATA : MSG.CHANNEL_DATA;
  view.setUint32(1, remoteId);
  if (isStderr) view.setUint32(5, 1);
  view.setUint32(isStderr ? 9 : 5, length);
  return header;
}

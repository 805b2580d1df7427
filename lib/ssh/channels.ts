/** The channels of one connection and the messages that belong to them (RFC 4254 §5). */
import type { Buffer } from "node:buffer";
import { AccessDenied, ConnectionProblem, LimitExceeded } from "../base/errors.ts";
import { printable } from "../base/text.ts";
import { WireReader } from "../sshwire/codec.ts";
import {
  Channel,
  type ChannelLink,
  type ChannelPeer,
  type CloseRule,
  fullWindow,
  maxIncomingData,
  minOutgoingData,
} from "./channel.ts";
import {
  channelOpen,
  channelOpenConfirmation,
  channelOpenFailure,
  DISCONNECT,
  MSG,
  OPEN_FAILURE,
} from "./messages.ts";
import { readUint32 } from "./packet_reader.ts";
import { Disconnect, type Transport } from "./transport.ts";

export interface ChannelOptions {
  closeRule: CloseRule;
  stderr?: "in" | "out";
}

export interface OpenRequest {
  type: string;
  peer: ChannelPeer;
  /** What follows the fields that all openings have. */
  fields: WireReader;
}

export interface ChannelRequest {
  channel: Channel;
  type: string;
  wantReply: boolean;
  fields: WireReader;
}

export interface ChannelsHandler {
  /** Answers with accept() or refuse(), now or later. */
  onOpen(request: OpenRequest): void;
  /** Replies by channel.reply() where that is wanted. */
  onRequest(request: ChannelRequest): void;
}

interface Opening {
  channel: Channel;
  resolve(channel: Channel): void;
  reject(error: Error): void;
}

/** The more channels a connection has, the less waits for the slow reader of a new one. */
const windows = [
  { below: 8, bytes: fullWindow },
  { below: 128, bytes: 256 * 1024 },
  { below: Infinity, bytes: 64 * 1024 },
];

export class Channels {
  readonly #transport: Transport;
  readonly #handler: ChannelsHandler;
  /** Channels that may be open, whoever opens them. */
  max: number;
  readonly #channels = new Map<number, Channel>();
  readonly #openings = new Map<number, Opening>();
  /** Numbers reserved by openings of the peer that were not answered yet. */
  #answering = 0;
  #nextId = 0;
  readonly #waiting = new Set<Channel>();
  #isClosed = false;
  readonly #link: ChannelLink;

  constructor(transport: Transport, max: number, handler: ChannelsHandler) {
    this.#transport = transport;
    this.max = max;
    this.#handler = handler;
    this.#link = {
      send: (payload) => transport.send(payload),
      sendData: (header, data) => transport.sendData(header, data),
      get canSendData() {
        return transport.canSendData;
      },
      lend: () => transport.lend(),
      takeBack: () => transport.takeBack(),
      waitForDrain: (channel) => this.#waiting.add(channel),
      release: (channel) => {
        this.#waiting.delete(channel);
        this.#channels.delete(channel.localId);
      },
    };
  }

  get size(): number {
    return this.#channels.size + this.#answering;
  }

  /**
   * Asks the peer for a channel.
   * @throws AccessDenied, LimitExceeded or ConnectionProblem with the peer's reason
   */
  open(type: string, options: ChannelOptions, fields?: Uint8Array): Promise<Channel> {
    if (this.#isClosed) return Promise.reject(new ConnectionProblem("The connection is closed"));
    if (this.size >= this.max) {
      return Promise.reject(new LimitExceeded(`No more than ${this.max} channels`));
    }
    const channel = this.#add({ id: 0, window: 0, maxPacket: 0 }, options);
    const { promise, resolve, reject } = Promise.withResolvers<Channel>();
    this.#openings.set(channel.localId, { channel, resolve, reject });
    const offer = { id: channel.localId, window: channel.window, maxPacket: maxIncomingData };
    const message = channelOpen(type, offer);
    this.#transport.send((fields ? message.raw(fields) : message).bytes());
    return promise;
  }

  /** Says yes to an opening. undefined when the connection is gone. */
  accept(request: OpenRequest, options: ChannelOptions): Channel | undefined {
    this.#answering--;
    if (this.#isClosed) return undefined;
    const channel = this.#add(request.peer, options);
    this.#transport.send(
      channelOpenConfirmation(request.peer.id, {
        id: channel.localId,
        window: channel.window,
        maxPacket: maxIncomingData,
      }),
    );
    return channel;
  }

  refuse(request: OpenRequest, reason: number, text: string): void {
    this.#answering--;
    this.#transport.send(channelOpenFailure(request.peer.id, reason, text));
  }

  onMessage(type: number, payload: Buffer): void {
    switch (type) {
      case MSG.CHANNEL_DATA:
        return this.#onData(payload);
      case MSG.CHANNEL_WINDOW_ADJUST:
        return this.#get(payload).onWindowAdjust(new WireReader(payload.subarray(5)).u32());
      case MSG.CHANNEL_EXTENDED_DATA:
        return this.#onExtendedData(payload);
      case MSG.CHANNEL_EOF:
        return this.#get(payload).onEof();
      case MSG.CHANNEL_CLOSE:
        return this.#onClose(payload);
      case MSG.CHANNEL_OPEN:
        return this.#onOpen(payload);
      case MSG.CHANNEL_OPEN_CONFIRMATION:
        return this.#onConfirmation(payload);
      case MSG.CHANNEL_OPEN_FAILURE:
        return this.#onFailure(payload);
      case MSG.CHANNEL_REQUEST:
        return this.#onRequest(payload);
      case MSG.CHANNEL_SUCCESS:
      case MSG.CHANNEL_FAILURE:
        return this.#get(payload).onReply(type === MSG.CHANNEL_SUCCESS);
      default:
        throw new Disconnect(DISCONNECT.PROTOCOL_ERROR, `Unexpected message ${type}`);
    }
  }

  onDrain(): void {
    if (this.#waiting.size === 0) return;
    // Whoever still waits afterwards queues up behind the others.
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const channel of waiting) {
      if (this.#transport.canSendData) channel.resumeSending();
      else this.#waiting.add(channel);
    }
  }

  /** The connection is gone. */
  abandon(): void {
    this.#isClosed = true;
    for (const { reject } of this.#openings.values()) {
      reject(new ConnectionProblem("The connection was closed"));
    }
    this.#openings.clear();
    for (const channel of [...this.#channels.values()]) channel.abandon();
  }

  #add(peer: ChannelPeer, options: ChannelOptions): Channel {
    while (this.#channels.has(this.#nextId)) this.#nextId = (this.#nextId + 1) % 2 ** 31;
    const id = this.#nextId;
    this.#nextId = (id + 1) % 2 ** 31;
    const window = windows.find(({ below }) => this.#channels.size < below)!.bytes;
    const channel = new Channel(id, peer, this.#link, { ...options, window });
    this.#channels.set(id, channel);
    return channel;
  }

  #get(payload: Buffer): Channel {
    if (payload.length < 5) throw new Disconnect(DISCONNECT.PROTOCOL_ERROR, "Malformed message");
    const id = readUint32(payload, 1);
    const channel = this.#channels.get(id);
    if (!channel || this.#openings.has(id)) {
      throw new Disconnect(DISCONNECT.PROTOCOL_ERROR, `Message ${payload[0]} for no channel`);
    }
    return channel;
  }

  #onData(payload: Buffer): void {
    const channel = this.#get(payload);
    if (payload.length < 9 || readUint32(payload, 5) !== payload.length - 9) {
      throw new Disconnect(DISCONNECT.PROTOCOL_ERROR, "Malformed channel data");
    }
    channel.onData(payload.subarray(9), false);
  }

  #onExtendedData(payload: Buffer): void {
    const channel = this.#get(payload);
    if (payload.length < 13 || readUint32(payload, 9) !== payload.length - 13) {
      throw new Disconnect(DISCONNECT.PROTOCOL_ERROR, "Malformed channel data");
    }
    // Type 1 is stderr; whatever else, and stderr from a client, uses up the window and is dropped.
    channel.onData(payload.subarray(13), true, readUint32(payload, 5) !== 1);
  }

  #onClose(payload: Buffer): void {
    const opening = this.#openings.get(readUint32(payload, 1));
    if (opening) throw new Disconnect(DISCONNECT.PROTOCOL_ERROR, "CLOSE before confirmation");
    this.#get(payload).onClose();
  }

  #onOpen(payload: Buffer): void {
    // A copy: the opening may have to wait.
    const fields = new WireReader(Uint8Array.from(payload.subarray(1)), "channel opening");
    const type = fields.utf8();
    const peer = { id: fields.u32(), window: fields.u32(), maxPacket: fields.u32() };
    const request = { type, peer, fields };
    this.#answering++;
    if (this.size > this.max) {
      this.refuse(request, OPEN_FAILURE.RESOURCE_SHORTAGE, `No more than ${this.max} channels`);
    } else if (peer.maxPacket < minOutgoingData) {
      this.refuse(request, OPEN_FAILURE.RESOURCE_SHORTAGE, "The maximum packet size is too small");
    } else {
      this.#handler.onOpen(request);
    }
  }

  #onConfirmation(payload: Buffer): void {
    const fields = new WireReader(payload.subarray(1), "channel confirmation");
    const opening = this.#takeOpening(fields.u32());
    const peer = { id: fields.u32(), window: fields.u32(), maxPacket: fields.u32() };
    if (peer.maxPacket < minOutgoingData) {
      throw new Disconnect(DISCONNECT.PROTOCOL_ERROR, "The maximum packet size is too small");
    }
    opening.channel.confirm(peer);
    opening.resolve(opening.channel);
  }

  #onFailure(payload: Buffer): void {
    const fields = new WireReader(payload.subarray(1), "channel failure");
    const { channel, reject } = this.#takeOpening(fields.u32());
    const reason = fields.u32();
    const text = printable(fields.utf8().slice(0, 1024)) || `reason ${reason}`;
    channel.abandon();
    reject(
      reason === OPEN_FAILURE.PROHIBITED
        ? new AccessDenied(text)
        : reason === OPEN_FAILURE.RESOURCE_SHORTAGE
        ? new LimitExceeded(text)
        : new ConnectionProblem(text),
    );
  }

  #takeOpening(id: number): Opening {
    const opening = this.#openings.get(id);
    if (!opening) throw new Disconnect(DISCONNECT.PROTOCOL_ERROR, "Answer to no channel opening");
    this.#openings.delete(id);
    return opening;
  }

  #onRequest(payload: Buffer): void {
    const channel = this.#get(payload);
    const fields = new WireReader(payload.subarray(5), "channel request");
    const type = fields.utf8();
    const wantReply = fields.bool();
    this.#handler.onRequest({ channel, type, wantReply, fields });
  }
}

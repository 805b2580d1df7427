/**
 * Messages of the ssh-agent protocol (draft-ietf-sshm-ssh-agent), in both directions, without the
 * length in front: frameAgentMessage() and AgentFrames do that part. Sockets are the caller's.
 */
import { concat } from "../base/bytes.ts";
import { BadParameter } from "../base/errors.ts";
import { type Certificate, isCertificateAlgorithm, parseCertificate } from "./certificate.ts";
import { WireReader, WireWriter } from "./codec.ts";
import { type PrivateKey, readKeyType, type SignatureAlgorithm } from "./keys.ts";
import { encodePrivateFields, readPrivateFields } from "./private_key.ts";

/** One key or certificate that an agent holds. */
export interface AgentIdentity {
  /** Wire form of a public key or certificate, of any type. */
  blob: Uint8Array;
  comment: string;
}

export type AgentRequest =
  | { kind: "identities" }
  | { kind: "sign"; blob: Uint8Array; data: Uint8Array; flags: number }
  | { kind: "add"; identity: AgentKey }
  | { kind: "remove"; blob: Uint8Array }
  | { kind: "remove-all" }
  | { kind: "unknown"; type: number };

/** A private key to be held, alone or with its certificate. */
export interface AgentKey {
  key: PrivateKey;
  certificate?: Certificate;
  comment: string;
  /** The agent forgets it after so many seconds; 0 and undefined: never. */
  lifetimeSeconds?: number;
  /** The agent asks the user at each use. */
  confirm?: boolean;
}

export type AgentAnswer =
  | { kind: "success" }
  | { kind: "failure" }
  | { kind: "identities"; identities: AgentIdentity[] }
  /** The whole signature blob. */
  | { kind: "signature"; signature: Uint8Array };

const number = {
  failure: 5,
  success: 6,
  requestIdentities: 11,
  identitiesAnswer: 12,
  signRequest: 13,
  signResponse: 14,
  addIdentity: 17,
  removeIdentity: 18,
  removeAllIdentities: 19,
  addIdConstrained: 25,
} as const;
const constraint = { lifetime: 1, confirm: 2 } as const;
const signFlag = { rsaSha256: 2, rsaSha512: 4 } as const;
const maxIdentities = 1024;

/** OpenSSH's own limit of a message. */
const maxMessage = 256 * 1024;

/** The flags of a sign request that ask for this algorithm. */
export function signFlags(algorithm: SignatureAlgorithm): number {
  if (algorithm === "rsa-sha2-256") return signFlag.rsaSha256;
  return algorithm === "rsa-sha2-512" ? signFlag.rsaSha512 : 0;
}

/** What an RSA key shall sign with; undefined: the request asks for SHA-1, to be refused. */
export function rsaAlgorithmOf(flags: number): "rsa-sha2-256" | "rsa-sha2-512" | undefined {
  if (flags & signFlag.rsaSha512) return "rsa-sha2-512";
  return flags & signFlag.rsaSha256 ? "rsa-sha2-256" : undefined;
}

export function encodeAgentRequest(request: AgentRequest): Uint8Array {
  const writer = new WireWriter();
  switch (request.kind) {
    case "identities":
      return writer.u8(number.requestIdentities).bytes();
    case "sign":
      return writer.u8(number.signRequest).string(request.blob).string(request.data)
        .u32(request.flags).bytes();
    case "add":
      return encodeAdd(request.identity);
    case "remove":
      return writer.u8(number.removeIdentity).string(request.blob).bytes();
    case "remove-all":
      return writer.u8(number.removeAllIdentities).bytes();
    case "unknown":
      return writer.u8(request.type).bytes();
  }
}

/** @throws BadParameter when malformed; kinds that are not ours are "unknown" */
export function decodeAgentRequest(message: Uint8Array): AgentRequest {
  const reader = new WireReader(message, "agent request");
  const request = readRequest(reader.u8(), reader);
  if (request.kind !== "unknown") reader.end();
  return request;
}

function readRequest(type: number, reader: WireReader): AgentRequest {
  switch (type) {
    case number.requestIdentities:
      return { kind: "identities" };
    case number.signRequest:
      return { kind: "sign", blob: copy(reader), data: copy(reader), flags: reader.u32() };
    case number.addIdentity:
    case number.addIdConstrained:
      return { kind: "add", identity: readAdd(reader) };
    case number.removeIdentity:
      return { kind: "remove", blob: copy(reader) };
    case number.removeAllIdentities:
      return { kind: "remove-all" };
    default:
      return { kind: "unknown", type };
  }
}

// byte type, string key type, (fields of the key), string comment, constraints. With a certificate
// the key type is the certificate's, its blob comes first, and the public fields are left out
// (except for ed25519, which repeats its public key).
function encodeAdd({ key, certificate, comment, lifetimeSeconds, confirm }: AgentKey): Uint8Array {
  const constraints = new WireWriter();
  if (lifetimeSeconds) constraints.u8(constraint.lifetime).u32(lifetimeSeconds);
  if (confirm) constraints.u8(constraint.confirm);
  const tail = constraints.bytes();
  const writer = new WireWriter()
    .u8(tail.length > 0 ? number.addIdConstrained : number.addIdentity);
  if (certificate) {
    writer.string(certificate.algorithm).string(certificate.blob).raw(certifiedFields(key));
  } else {
    writer.raw(encodePrivateFields(key));
  }
  return writer.string(comment).raw(tail).bytes();
}

function certifiedFields(key: PrivateKey): Uint8Array {
  const { type } = key.publicKey;
  const reader = new WireReader(encodePrivateFields(key));
  reader.string();
  if (type === "ssh-ed25519") return reader.rest();
  const skipped = 2; // ecdsa: the curve and the point; rsa: n and e
  for (let i = 0; i < skipped; i++) reader.string();
  return reader.rest();
}

function readAdd(reader: WireReader): AgentKey {
  const { key, certificate } = readAddedKey(reader);
  const comment = reader.utf8();
  const identity: AgentKey = { key, comment, ...(certificate ? { certificate } : {}) };
  while (reader.remaining > 0) {
    const type = reader.u8();
    if (type === constraint.lifetime) identity.lifetimeSeconds = reader.u32();
    else if (type === constraint.confirm) identity.confirm = true;
    else throw new BadParameter("The agent request has a constraint that is not supported");
  }
  return identity;
}

function readAddedKey(reader: WireReader): { key: PrivateKey; certificate?: Certificate } {
  const type = reader.utf8();
  if (!isCertificateAlgorithm(type)) {
    return { key: readPrivateFields(readKeyType(type), reader) };
  }
  const certificate = parseCertificate(reader.string());
  if (certificate.algorithm !== type) {
    throw new BadParameter("Malformed agent request: the certificate is of another type");
  }
  return { key: readPrivateFields(certificate.key.type, reader, certificate.key), certificate };
}

export function encodeAgentAnswer(answer: AgentAnswer): Uint8Array {
  const writer = new WireWriter();
  switch (answer.kind) {
    case "success":
      return writer.u8(number.success).bytes();
    case "failure":
      return writer.u8(number.failure).bytes();
    case "signature":
      return writer.u8(number.signResponse).string(answer.signature).bytes();
    case "identities":
      writer.u8(number.identitiesAnswer).u32(answer.identities.length);
      for (const { blob, comment } of answer.identities) writer.string(blob).string(comment);
      return writer.bytes();
  }
}

/** @throws BadParameter when malformed or unknown */
export function decodeAgentAnswer(message: Uint8Array): AgentAnswer {
  const reader = new WireReader(message, "agent's answer");
  const answer = readAnswer(reader.u8(), reader);
  reader.end();
  return answer;
}

function readAnswer(type: number, reader: WireReader): AgentAnswer {
  switch (type) {
    case number.success:
      return { kind: "success" };
    case number.failure:
      return { kind: "failure" };
    case number.signResponse:
      return { kind: "signature", signature: copy(reader) };
    case number.identitiesAnswer:
      return { kind: "identities", identities: readIdentities(reader) };
    default:
      throw new BadParameter(`The agent gave an answer of unknown type ${type}`);
  }
}

function readIdentities(reader: WireReader): AgentIdentity[] {
  const count = reader.u32();
  if (count > maxIdentities) throw new BadParameter("The agent holds too many keys");
  return Array.from({ length: count }, () => ({ blob: copy(reader), comment: lossyText(reader) }));
}

/** A message with its length in front, ready to be sent. */
export function frameAgentMessage(message: Uint8Array): Uint8Array {
  return new WireWriter().string(message).bytes();
}

/** Cuts a stream of bytes into messages, whatever pieces it arrives in. */
export class AgentFrames {
  #pending: Uint8Array = new Uint8Array();

  /**
   * @returns the messages that are complete now
   * @throws BadParameter when a message is empty or longer than 256 KiB
   */
  push(chunk: Uint8Array): Uint8Array[] {
    this.#pending = concat(this.#pending, chunk);
    const messages: Uint8Array[] = [];
    while (this.#pending.length >= 4) {
      const length = new WireReader(this.#pending).u32();
      if (length === 0 || length > maxMessage) {
        throw new BadParameter("Malformed agent message: impossible length");
      }
      if (this.#pending.length < 4 + length) break;
      messages.push(this.#pending.slice(4, 4 + length));
      this.#pending = this.#pending.slice(4 + length);
    }
    return messages;
  }
}

function copy(reader: WireReader): Uint8Array {
  return Uint8Array.from(reader.string());
}

/** Comments of other people's keys may be in any encoding. */
function lossyText(reader: WireReader): string {
  return new TextDecoder().decode(reader.string());
}

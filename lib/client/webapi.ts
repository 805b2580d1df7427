/** The proxy's web API, as far as a user without a certificate needs it. JSON over HTTPS. */
import { fromBase64, toBase64, utf8Decode, utf8Encode } from "../base/bytes.ts";
import {
  AccessDenied,
  ConnectionProblem,
  errorFromCode,
  InternalError,
  LimitExceeded,
  messageOf,
} from "../base/errors.ts";
import type { HostPort } from "../base/net.ts";
import { webUrl } from "./proxy_address.ts";

export interface PingAnswer {
  clusterName: string;
  serverVersion: string;
  secondFactor: "otp" | "off";
  /** "host:port" strings as the proxy gave them. */
  ssh: { listenAddr?: string; publicAddr?: string };
}

export interface LoginAnswer {
  /** The SSH certificate, as a line. */
  certificate: string;
  /** The X.509 certificate chain of the user, PEM. */
  tlsCertificate?: string;
  hostSigners: { cluster: string; checkingKeys: string[]; tlsAuthorities: string[] }[];
}

export interface SignupAnswer {
  user: string;
  kind: "invite" | "reset";
  secondFactor: "otp" | "off";
  otpUri?: string;
  otpSecret?: string;
}

const timeoutMs = 30_000;
const maxAnswerBytes = 1 << 20;

/** A proxy's certificate was not signed by anybody whom this client trusts. */
export class UntrustedCertificate extends AccessDenied {}

/** One proxy. Close it by `using`. */
export class WebApi implements Disposable {
  readonly #client: Deno.HttpClient;

  /** @param authorities PEM certificates that are trusted beside the usual ones */
  constructor(readonly address: HostPort, authorities: readonly string[]) {
    this.#client = Deno.createHttpClient({ caCerts: [...authorities] });
  }

  async ping(): Promise<PingAnswer> {
    const answer = new Reader(await this.#call("GET", "/webapi/ping"));
    const ssh = answer.at("proxy").at("ssh");
    const listenAddr = ssh.optional("listen_addr");
    const publicAddr = ssh.optional("ssh_public_addr");
    return {
      clusterName: answer.optional("cluster_name") ?? "",
      serverVersion: answer.text("server_version"),
      secondFactor: answer.at("auth").text("second_factor") === "off" ? "off" : "otp",
      ssh: {
        ...(listenAddr === undefined ? {} : { listenAddr }),
        ...(publicAddr === undefined ? {} : { publicAddr }),
      },
    };
  }

  /** @throws AccessDenied for a wrong password, code or a locked account */
  async login(request: {
    user: string;
    password: string;
    otpToken?: string;
    /** An authorized_keys line. */
    publicKey: string;
    /** The same key, or another one, as DER SubjectPublicKeyInfo, for an X.509 certificate. */
    tlsPublicKey?: Uint8Array;
    ttlMs: number;
  }): Promise<LoginAnswer> {
    const answer = new Reader(
      await this.#call("POST", "/webapi/ssh/certs", {
        user: request.user,
        password: request.password,
        ...(request.otpToken === undefined ? {} : { otp_token: request.otpToken }),
        pub_key: toBase64(utf8Encode(request.publicKey)),
        ...(request.tlsPublicKey === undefined
          ? {}
          : { tls_public_key: toBase64(request.tlsPublicKey) }),
        ttl: request.ttlMs * 1_000_000,
      }),
    );
    const tlsCertificate = answer.optional("tls_cert");
    return {
      certificate: decode(answer.text("cert")),
      ...(tlsCertificate === undefined ? {} : { tlsCertificate: decode(tlsCertificate) }),
      hostSigners: answer.list("host_signers").map((signer) => ({
        cluster: signer.text("domain_name"),
        checkingKeys: signer.texts("checking_keys").map(decode),
        tlsAuthorities: signer.texts("tls_certs").map(decode),
      })),
    };
  }

  /** What an invite or reset link is for. @throws NotFound when it is used or expired */
  async signupInfo(token: string): Promise<SignupAnswer> {
    const path = `/webapi/users/password/token/${encodeURIComponent(token)}`;
    const answer = new Reader(await this.#call("GET", path));
    const otpUri = answer.optional("otp_uri");
    const otpSecret = answer.optional("otp_secret");
    return {
      user: answer.text("user"),
      kind: answer.optional("kind") === "reset" ? "reset" : "invite",
      secondFactor: answer.optional("second_factor") === "off" ? "off" : "otp",
      ...(otpUri === undefined ? {} : { otpUri }),
      ...(otpSecret === undefined ? {} : { otpSecret }),
    };
  }

  async completeSignup(request: { token: string; password: string; otpToken?: string }) {
    await this.#call("PUT", "/webapi/users/password/token", {
      token: request.token,
      password: request.password,
      ...(request.otpToken === undefined ? {} : { second_factor_token: request.otpToken }),
    });
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }

  async #call(method: string, path: string, body?: unknown): Promise<unknown> {
    const url = `${webUrl(this.address)}${path}`;
    try {
      const response = await fetch(url, {
        method,
        client: this.#client,
        // A password must not follow a redirection to anybody else.
        redirect: "error",
        signal: AbortSignal.timeout(timeoutMs),
        headers: { accept: "application/json", "content-type": "application/json" },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const answer = await readJson(response);
      if (response.ok) return answer;
      throw remoteError(response, answer, this.address);
    } catch (e) {
      throw connectionError(e, this.address);
    }
  }
}

async function readJson(response: Response): Promise<unknown> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > maxAnswerBytes) throw new LimitExceeded("The proxy's answer is too long");
    chunks.push(chunk);
  }
  const text = await new Blob(chunks as Uint8Array<ArrayBuffer>[]).text();
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function remoteError(response: Response, answer: unknown, address: HostPort): Error {
  const error = isObject(answer) && isObject(answer.error) ? answer.error : undefined;
  if (typeof error?.message === "string") {
    return errorFromCode(String(error.code ?? "internal"), error.message);
  }
  return new ConnectionProblem(
    `${webUrl(address)} answered ${response.status} ${response.statusText}, ` +
      "which no Teleport proxy says: check the address given by --proxy",
  );
}

/** fetch() says everything with TypeError: this finds out what happened. */
function connectionError(e: unknown, address: HostPort): Error {
  if (!(e instanceof TypeError) && !(e instanceof DOMException)) return e as Error;
  const where = webUrl(address);
  const reason = causesOf(e);
  const options = { cause: e };
  if (e.name === "TimeoutError") {
    return new ConnectionProblem(
      `${where} did not answer within ${timeoutMs / 1000} s: check the address and the network`,
      options,
    );
  }
  if (/UnknownIssuer|CaUsedAsEndEntity|BadSignature/.test(reason)) {
    return new UntrustedCertificate(
      `The certificate of ${where} was not issued by an authority that this computer trusts`,
      options,
    );
  }
  if (/NotValidForName|not valid for (?:any )?name/.test(reason)) {
    return new AccessDenied(
      `The certificate of ${where} is for other names than ${address.host}: ` +
        "use the name in the certificate, or add this one to proxy_service.public_addr",
      options,
    );
  }
  if (/Expired|certificate expired|NotValidYet|not valid yet/.test(reason)) {
    return new AccessDenied(
      `The certificate of ${where} is not valid now: check this computer's clock, ` +
        "or ask the administrator to renew it",
      options,
    );
  }
  return new ConnectionProblem(
    `Cannot reach the proxy at ${where}: ${
      shortReason(reason)
    }; check the address given by --proxy`,
    options,
  );
}

function causesOf(e: unknown): string {
  const texts: string[] = [];
  for (let at = e; at instanceof Error; at = at.cause) texts.push(messageOf(at));
  return texts.join(": ");
}

function shortReason(reason: string): string {
  if (/dns error|failed to lookup/i.test(reason)) return "its name cannot be resolved";
  if (/connection refused/i.test(reason)) return "connection refused";
  if (/InvalidContentType|corrupt message/.test(reason)) return "it does not speak HTTPS";
  return reason.replace(/^.*\): /, "").replace(/ \(os error \d+\)/g, "");
}

function decode(base64: string): string {
  return utf8Decode(fromBase64(base64));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Reads values out of an answer, each with its type checked. @throws InternalError */
class Reader {
  readonly #value: Record<string, unknown>;

  constructor(value: unknown, readonly path = "") {
    if (!isObject(value)) throw wrong(path, "an object");
    this.#value = value;
  }

  at(key: string): Reader {
    return new Reader(this.#value[key], this.#pathOf(key));
  }

  text(key: string): string {
    const value = this.#value[key];
    if (typeof value !== "string") throw wrong(this.#pathOf(key), "text");
    return value;
  }

  optional(key: string): string | undefined {
    const value = this.#value[key];
    return value === undefined || value === null || value === "" ? undefined : this.text(key);
  }

  list(key: string): Reader[] {
    const value = this.#value[key];
    if (!Array.isArray(value)) throw wrong(this.#pathOf(key), "a list");
    return value.map((item, i) => new Reader(item, `${this.#pathOf(key)}[${i}]`));
  }

  texts(key: string): string[] {
    const value = this.#value[key] ?? [];
    if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value;
    throw wrong(this.#pathOf(key), "a list of texts");
  }

  #pathOf(key: string): string {
    return this.path === "" ? key : `${this.path}.${key}`;
  }
}

function wrong(path: string, what: string): InternalError {
  return new InternalError(
    `The proxy's answer cannot be understood: ${path || "it"} is not ${what}; ` +
      "is this a Teleport proxy of a matching version?",
  );
}

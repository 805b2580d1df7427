/** A proxy's web API over HTTPS, in this process, for tests of the client. */
import { fromBase64, toBase64, utf8Decode, utf8Encode } from "../base/bytes.ts";
import { issueUserCertificate } from "../cert/issue.ts";
import { caPin, createTlsAuthority, tlsServerCertificate } from "../cert/x509.ts";
import { formatCertificateLine } from "../sshwire/certificate.ts";
import { formatAuthorizedKey, parseAuthorizedKey } from "../sshwire/keys.ts";
import { TestAuthority } from "./test_identity.ts";

export interface FakeProxy extends AsyncDisposable {
  port: number;
  pin: string;
  ca: string;
  authority: TestAuthority;
  /** What was posted and put. */
  requests: Record<string, unknown>[];
}

export interface FakeProxyOptions {
  authority?: TestAuthority;
  /** What `ping` says of SSH. */
  sshPort?: number;
  /** Names in the certificate; localhost and 127.0.0.1 unless told. */
  names?: string[];
  /** Answers everything, when given. */
  answer?: () => Response;
}

export const signupToken = "0123456789abcdef0123456789abcdef";
export const otpSecret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";

/** An HTTPS server with a certificate of a cluster's own CA, which signs any key. */
export async function fakeProxy(options: FakeProxyOptions = {}): Promise<FakeProxy> {
  const authority = options.authority ?? new TestAuthority();
  const ca = await createTlsAuthority({
    cluster: "main",
    type: "host",
    sshCaKey: authority.hostCa.publicKey,
  });
  const server = await tlsServerCertificate({
    caKeyPem: ca.keyPem,
    caCertPem: ca.certPem,
    commonName: "proxy",
    dnsNames: options.names ?? ["localhost"],
    ips: options.names ? [] : ["127.0.0.1"],
    ttlMs: 3_600_000,
  });
  const requests: Record<string, unknown>[] = [];
  const http = Deno.serve({
    hostname: "127.0.0.1",
    port: 0,
    cert: `${server.certPem}${ca.certPem}`,
    key: server.keyPem!,
    onListen: () => {},
  }, async (request) => {
    if (options.answer) return options.answer();
    const path = new URL(request.url).pathname;
    if (path === "/webapi/ping") return Response.json(ping(options.sshPort ?? 4023));
    if (request.method === "GET") return signupInfo(path);
    const body = await request.json();
    requests.push({ path, ...body });
    if (request.method === "PUT") {
      return body.second_factor_token === "123456"
        ? Response.json({ user: "joe" })
        : refusal("access_denied", "invalid second factor");
    }
    if (body.password !== "secret") {
      return refusal("access_denied", "invalid username, password or second factor");
    }
    return Response.json(certificates(authority, ca.certPem, body));
  });
  return {
    port: http.addr.port,
    pin: caPin(ca.certPem),
    ca: ca.certPem,
    authority,
    requests,
    [Symbol.asyncDispose]: () => http.shutdown(),
  };
}

function ping(sshPort: number) {
  return {
    auth: { type: "local", second_factor: "otp" },
    proxy: { ssh: { listen_addr: `0.0.0.0:${sshPort}` } },
    cluster_name: "main",
    server_version: "0.1.0",
  };
}

function signupInfo(path: string): Response {
  if (!path.endsWith(`/token/${signupToken}`)) {
    return refusal("not_found", "this link is not valid");
  }
  return Response.json({
    user: "joe",
    kind: "invite",
    second_factor: "otp",
    otp_secret: otpSecret,
    otp_uri: `otpauth://totp/main:joe?secret=${otpSecret}&issuer=main`,
    expires: "2030-01-01T00:00:00Z",
  });
}

function refusal(code: string, message: string): Response {
  return Response.json({ error: { code, message } }, { status: code === "not_found" ? 404 : 403 });
}

function certificates(
  authority: TestAuthority,
  caCertPem: string,
  body: { user: string; pub_key: string; ttl: number },
) {
  const { key } = parseAuthorizedKey(utf8Decode(fromBase64(body.pub_key)));
  const certificate = issueUserCertificate({
    ca: authority.userCa,
    key,
    keyId: body.user,
    principals: ["root"],
    validAfterMs: Date.now() - 60_000,
    validBeforeMs: Date.now() + body.ttl / 1e6,
    extensions: {
      "permit-pty": "",
      "teleport-roles": JSON.stringify({ version: "v1", roles: ["admin"] }),
      "teleport-traits": JSON.stringify({ logins: ["root"] }),
    },
  });
  const b64 = (text: string) => toBase64(utf8Encode(text));
  return {
    username: body.user,
    cert: b64(formatCertificateLine(certificate)),
    host_signers: [{
      domain_name: "main",
      checking_keys: [b64(formatAuthorizedKey(authority.hostCa.publicKey))],
      tls_certs: [b64(caCertPem)],
    }],
  };
}

/** Where audit events go besides the auth server's own log: `teleport.storage.audit_events_uri`. */
import { BadParameter } from "../base/errors.ts";
import type { AuditDestination } from "./types.ts";

/** @throws BadParameter for a URI that leads nowhere, or that has a secret in it */
export function parseAuditUri(
  text: string,
  files: { tokenFile?: string; caFile?: string } = {},
): AuditDestination {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new BadParameter("must be a URI: file:///path, stdout:// or https://host/path");
  }
  const isWeb = url.protocol === "http:" || url.protocol === "https:";
  if (!isWeb && Object.keys(files).length > 0) {
    throw new BadParameter("token_file and ca_file are for https:// only");
  }
  switch (url.protocol) {
    case "file:":
      if (url.host !== "" || url.pathname === "/") {
        throw new BadParameter("must name a directory of this host: file:///path");
      }
      return { kind: "file", directory: decodeURIComponent(url.pathname) };
    case "stdout:":
      return { kind: "stdout" };
    case "http:":
    case "https:":
      return webDestination(url, files);
    default:
      throw new BadParameter(
        `is not supported by this version: ${url.protocol}//; use file://, stdout:// or https://`,
      );
  }
}

function webDestination(
  url: URL,
  files: { tokenFile?: string; caFile?: string },
): AuditDestination {
  if (url.username !== "" || url.password !== "") {
    throw new BadParameter("must have no user and password: put a bearer token into token_file");
  }
  const isPlain = url.protocol === "http:";
  if (isPlain && files.tokenFile !== undefined && !isLoopback(url.hostname)) {
    throw new BadParameter("a token goes by https:// only");
  }
  if (isPlain && files.caFile !== undefined) {
    throw new BadParameter("ca_file is for https:// only");
  }
  return { kind: "http", url: url.href, ...files };
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(host);
}

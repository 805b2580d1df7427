import { hostname } from "node:os";
import { randomHex } from "../base/ids.ts";

/** What `teleport configure` prints: a file that works as it stands, on one machine. */
export function sampleConfig(): string {
  const token = randomHex(24);
  return `#
# A sample configuration of Teleport: auth, proxy and SSH service on one machine.
# Every key may be left out; the defaults are then used.
#
teleport:
  # Name of this host in the cluster.
  nodename: ${JSON.stringify(hostname())}

  # Keys, certificates, the database and the logs are kept here, for root only.
  data_dir: /var/lib/teleport

  # To join a cluster: a token (or the absolute path of a file that holds it), the pin that
  # "tctl status" shows, and the address of the auth server.
  auth_token: "${token}"
  # ca_pin: "sha256:ca-pin-hash-goes-here"
  auth_servers:
    - 127.0.0.1:3025

  # Audit events are kept in data_dir. Further places that they go to, which get what they missed:
  # storage:
  #   audit_events_uri:
  #     - "file:///srv/audit"
  #     - "stdout://"
  #     - {uri: "https://siem.example.com/ingest", token_file: /etc/teleport/siem.token}

  log:
    output: stderr # stderr, stdout or the path of a file
    severity: INFO # DEBUG, INFO, WARN or ERROR
    format: text # text or json

auth_service:
  enabled: yes
  # The name cannot be changed after the first start. Without it: this host's name.
  # cluster_name: "main"
  listen_addr: 0.0.0.0:3025
  # Tokens that never expire; "tctl nodes add" makes safer ones, which do.
  tokens:
    - "proxy,node:${token}"
  authentication:
    type: local
    second_factor: otp
  # Ends sessions in which nothing was typed for so long, e.g. 30m.
  client_idle_timeout: never
  # Ends sessions when the user's certificate expires.
  disconnect_expired_cert: no
  # A host that is out of touch for so long ends the sessions of users whose number of connections
  # a role limits.
  session_control_timeout: 2m
  # Who records sessions: node, proxy (for hosts that are no nodes, too), or off. With node-sync and
  # proxy-sync, recordings reach this server while the session runs, which ends when they cannot.
  session_recording: node
  # A proxy that records refuses hosts whose key the cluster has not signed.
  proxy_checks_host_keys: yes
  # What happens when the disk of the host that records is full: sessions are refused, or continue
  # unrecorded.
  session_recording_on_full: refuse

ssh_service:
  enabled: yes
  listen_addr: 0.0.0.0:3022
  labels:
    env: staging
  commands:
    - name: hostname
      command: [hostname]
      period: 1m0s
    - name: arch
      command: [uname, -p]
      period: 1h0m0s

proxy_service:
  enabled: yes
  listen_addr: 0.0.0.0:3023
  web_listen_addr: 0.0.0.0:3080
  # The address that users type.
  # public_addr: teleport.example.com:3080

  # Without a certificate the proxy makes its own, which users are asked to confirm.
  # https_key_file: /etc/letsencrypt/live/teleport.example.com/privkey.pem
  # https_cert_file: /etc/letsencrypt/live/teleport.example.com/fullchain.pem

  # Hosts that are not in the cluster and that the proxy may connect to, such as stock sshd.
  # unregistered_targets: ["*.example.com:22", "10.0.0.0/8:22"]
`;
}

import { AccessDenied, BadParameter, messageOf } from "../../lib/base/errors.ts";
import { out, say, warn } from "../../lib/cli/output.ts";
import type { CommandSpec } from "../../lib/cli/program.ts";
import { openPrompter, type Prompter } from "../../lib/cli/prompt.ts";
import { qrCode } from "../../lib/cli/qr.ts";
import { parseSignupLink } from "../../lib/client/signup_link.ts";
import { trustProxy } from "../../lib/client/trust.ts";
import type { SignupAnswer, WebApi } from "../../lib/client/webapi.ts";
import { confirmer, knownAuthorities } from "./log_in.ts";

export const command: CommandSpec = {
  name: "signup",
  summary: "complete an invitation or a reset link",
  description:
    "Complete an invitation (or a password reset) that an administrator sent you: choose a\n" +
    "password, add the cluster to an authenticator app, and show that it works by a first code.",
  arguments: [{ name: "<link>", about: "https://…/web/invite/… or https://…/web/reset/…" }],
  notes:
    "Scripts give on stdin: the password, the password again, and the first code; the secret\n" +
    "for the code is printed on stdout before the code is read.",
  examples: [
    ["tsh signup https://proxy.example.com:3080/web/invite/4f2a…", "asks for what it needs"],
    ["tsh signup --ca-pin=sha256:7e12… https://proxy.example.com:3080/web/invite/4f2a…", ""],
  ],
  async run([link = ""], flags) {
    const { proxy, token } = parseSignupLink(link);
    const pin = flags.text("ca-pin");
    const confirm = confirmer();
    const trusted = await trustProxy({
      address: { host: proxy.host, port: proxy.webPort },
      known: knownAuthorities(proxy),
      ...(pin === undefined ? {} : { pin }),
      ...(flags.on("insecure") ? { insecure: true } : {}),
      ...(confirm === undefined ? {} : { confirm }),
      warn,
    });
    using web = trusted.web;
    const info = await web.signupInfo(token);
    const prompter = await openPrompter();
    try {
      await complete(web, token, info, prompter);
    } finally {
      prompter[Symbol.dispose]?.();
    }
    say(`Done. Now log in: tsh login --proxy=${proxy.host}:${proxy.webPort} --user=${info.user}`);
  },
};

const minPassword = 6, maxPassword = 128;
/** A mistyped code is asked for again, as long as there is somebody to ask. */
const tries = 3;

async function complete(
  web: WebApi,
  token: string,
  info: SignupAnswer,
  prompter: Prompter,
): Promise<void> {
  say(
    info.kind === "reset"
      ? `Hello ${info.user}: choose a new password.`
      : `Welcome ${info.user}: choose a password.`,
  );
  const password = await choosePassword(prompter);
  if (info.secondFactor === "off") return await web.completeSignup({ token, password });
  await showSecret(info);
  const interactive = Deno.stdin.isTerminal();
  for (let left = interactive ? tries : 1;; left--) {
    const otpToken = (await prompter.line("Enter the first code it shows:")).trim();
    try {
      return await web.completeSignup({ token, password, otpToken });
    } catch (e) {
      const codeIsWrong = e instanceof AccessDenied || e instanceof BadParameter;
      if (left <= 1 || !codeIsWrong) throw e;
      say(`${messageOf(e)}. Try the next code.`);
    }
  }
}

async function choosePassword(prompter: Prompter): Promise<string> {
  for (;;) {
    const password = await prompter.secret("Choose a password:");
    const problem = password.length < minPassword
      ? `The password is too short: use at least ${minPassword} characters`
      : password.length > maxPassword
      ? `The password is too long: use at most ${maxPassword} characters`
      : await prompter.secret("Type it again:") !== password
      ? "The two passwords are not the same"
      : undefined;
    if (problem === undefined) return password;
    if (!Deno.stdin.isTerminal()) throw new BadParameter(problem);
    say(`${problem}.`);
  }
}

async function showSecret(info: SignupAnswer): Promise<void> {
  if (info.otpUri === undefined || info.otpSecret === undefined) {
    throw new BadParameter("The proxy gave no secret for the authenticator: ask an administrator");
  }
  const colour = Deno.stderr.isTerminal() && !Deno.env.get("NO_COLOR");
  say("Scan this code with an authenticator app (Google Authenticator, Authy, …):\n");
  say(await qrCode(info.otpUri, { colour }));
  say("\nor type this secret into it:\n");
  out(info.otpSecret);
  say("");
}

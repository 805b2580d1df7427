/**
 * One-time codes by time (RFC 6238): six digits, 30 s, one step of skew either way, each code good
 * once. What was accepted last is written before the login goes on, by compare-and-swap: of two
 * logins with the same code one wins. When the clock steps back, codes up to the last accepted
 * step stay used.
 */
import { generateSecret, generateURI, verifySync } from "otplib";
import type { Clock } from "../base/clock.ts";
import { CompareFailed, NotFound } from "../base/errors.ts";
import type { Backend } from "../storage/backend.ts";
import { deleteIfThere, readJson } from "./store.ts";

const PERIOD_S = 30;
const DUMMY_SECRET = generateSecret();

interface StoredDevice {
  /** Base32. */
  secret: string;
  /** Number of the time step of the last accepted code; -1 before the first. */
  lastStep: number;
}

export type CodeResult = "ok" | "none" | "wrong" | "used";

export class OneTimeCodes {
  constructor(private readonly backend: Backend, private readonly clock: Clock) {}

  /** Uses the code up. "none": the user has no device; "used": right, but not for the first time. */
  async use(user: string, code: string): Promise<CodeResult> {
    for (;;) {
      const stored = await readJson<StoredDevice>(this.backend, key(user));
      if (stored === undefined) return "none";
      const step = matchingStep(stored.value.secret, code, this.clock.now());
      if (step === undefined) return "wrong";
      if (step <= stored.value.lastStep) return "used";
      try {
        await this.backend.compareAndSwap(
          key(user),
          stored,
          JSON.stringify({ ...stored.value, lastStep: step } satisfies StoredDevice),
        );
        return "ok";
      } catch (e) {
        // Another login was faster: look again, its code may have been this one.
        if (!(e instanceof CompareFailed || e instanceof NotFound)) throw e;
      }
    }
  }

  /** As long as use() takes to say "wrong", and with no effect. */
  async pretend(user: string, code: string): Promise<void> {
    const stored = await readJson<StoredDevice>(this.backend, key(user));
    matchingStep(stored?.value.secret ?? DUMMY_SECRET, code, this.clock.now());
  }

  /** @param lastStep the step of the code that proved the device, which is used up by that */
  async set(user: string, secret: string, lastStep: number): Promise<void> {
    await this.backend.put(
      key(user),
      JSON.stringify({ secret, lastStep } satisfies StoredDevice),
    );
  }

  delete(user: string): Promise<void> {
    return deleteIfThere(this.backend, key(user));
  }
}

/** 160 bits in base32. */
export function newSecret(): string {
  return generateSecret();
}

/** For a QR code. */
export function otpUri(user: string, cluster: string, secret: string): string {
  return generateURI({ issuer: "Teleport", label: `${user}@${cluster}`, secret });
}

/** The time step whose code this is, of the present one and its two neighbours. */
export function matchingStep(secret: string, code: string, nowMs: number): number | undefined {
  if (!/^[0-9]{6}$/.test(code)) return undefined;
  const epoch = Math.floor(nowMs / 1000);
  const result = verifySync({ secret, token: code, epoch, epochTolerance: PERIOD_S });
  return result.valid ? Math.floor(epoch / PERIOD_S) + result.delta : undefined;
}

function key(user: string): string {
  return `/otp/${user}`;
}

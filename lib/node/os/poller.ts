/**
 * Waits for the descriptors of all sessions at once: one epoll set, one thread blocked in
 * `epoll_wait`. No timer anywhere: an idle node costs no CPU, and a byte waits for nobody.
 *
 * Interest is one-shot. An owner arms its descriptor when it wants to go on and hears of it at
 * most once: so a paused reader cannot spin, not even when the other side has hung up, which
 * epoll otherwise reports for ever.
 */
import { log } from "../../base/log.ts";
import { check, isArm, libc, O_CLOEXEC, O_NONBLOCK } from "./libc.ts";

export const EPOLLIN = 0x001;
export const EPOLLOUT = 0x004;
const EPOLLONESHOT = 1 << 30;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;

/** `struct epoll_event` is packed on x86-64 only. */
const EVENT_SIZE = isArm ? 16 : 12;
const DATA_OFFSET = isArm ? 8 : 4;
const MAX_EVENTS = 128;
/** Failures in a row after which the thread is given up: epoll_wait fails only by our own fault. */
const MAX_FAILURES = 100;

export interface Watch {
  /** Asks to be told once when the descriptor is ready (EPOLLIN, EPOLLOUT or both). */
  arm(events: number): void;
  /** Before the descriptor is closed. */
  remove(): void;
}

export class Poller {
  // Named by a token, not by its number: an event that was already waiting when its descriptor was
  // closed must not reach the next owner of the number.
  readonly #ready = new Map<number, () => void>();
  readonly #event = new DataView(new ArrayBuffer(EVENT_SIZE));
  readonly #eventBytes = new Uint8Array(this.#event.buffer);
  readonly #batch = new Uint8Array(MAX_EVENTS * EVENT_SIZE);
  readonly #batchView = new DataView(this.#batch.buffer);
  #epollFd = -1;
  #wakeFd = -1;
  #lastToken = 0;
  #running: Promise<void> | undefined;

  /**
   * Watches a descriptor, not armed yet.
   *
   * @param ready called when it can be read or written, or has failed
   * @throws OsError e.g. for a plain file, which epoll does not take
   */
  watch(fd: number, ready: () => void): Watch {
    this.#open();
    const token = this.#newToken();
    this.#control(EPOLL_CTL_ADD, fd, 0, token);
    this.#ready.set(token, ready);
    this.#running ??= this.#run();
    return {
      arm: (events) => this.#control(EPOLL_CTL_MOD, fd, events, token),
      remove: () => {
        if (!this.#ready.delete(token)) return;
        libc().epoll_ctl(this.#epollFd, EPOLL_CTL_DEL, fd, this.#eventBytes);
        if (this.#ready.size === 0) this.#wake();
      },
    };
  }

  /** Resolves when nothing is watched any more and the thread is back. */
  async idle(): Promise<void> {
    await this.#running;
  }

  #open(): void {
    if (this.#epollFd !== -1) return;
    this.#epollFd = check(libc().epoll_create1(O_CLOEXEC), "epoll_create1");
    this.#wakeFd = check(libc().eventfd(0, O_CLOEXEC | O_NONBLOCK), "eventfd");
    // Token 0, level-triggered: nobody's but ours.
    this.#event.setUint32(0, EPOLLIN, true);
    this.#event.setBigUint64(DATA_OFFSET, 0n, true);
    check(
      libc().epoll_ctl(this.#epollFd, EPOLL_CTL_ADD, this.#wakeFd, this.#eventBytes),
      "epoll_ctl",
    );
  }

  #newToken(): number {
    do this.#lastToken = (this.#lastToken + 1) >>> 0; while (
      this.#lastToken === 0 || this.#ready.has(this.#lastToken)
    );
    return this.#lastToken;
  }

  #control(operation: number, fd: number, events: number, token: number): void {
    // Not armed: an event set of 0 would still be told of errors, so it is one-shot as well.
    this.#event.setUint32(0, (events | EPOLLONESHOT) >>> 0, true);
    this.#event.setUint32(DATA_OFFSET, token, true);
    this.#event.setUint32(DATA_OFFSET + 4, 0, true);
    check(libc().epoll_ctl(this.#epollFd, operation, fd, this.#eventBytes), "epoll_ctl");
  }

  #wake(): void {
    libc().write(this.#wakeFd, new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0]), 8n);
  }

  async #run(): Promise<void> {
    let failures = 0;
    while (this.#ready.size > 0) {
      const count = await libc().epoll_wait(this.#epollFd, this.#batch, MAX_EVENTS, -1);
      if (count < 0) {
        // A signal on that thread; its errno is out of reach from this one.
        if (++failures >= MAX_FAILURES) {
          log("node").error("epoll_wait fails, sessions are not served any more");
          break;
        }
        continue;
      }
      failures = 0;
      for (let i = 0; i < count; i++) {
        this.#dispatch(this.#batchView.getUint32(i * EVENT_SIZE + DATA_OFFSET, true));
      }
    }
    this.#running = undefined;
  }

  #dispatch(token: number): void {
    if (token === 0) {
      libc().read(this.#wakeFd, new Uint8Array(8), 8n);
      return;
    }
    try {
      this.#ready.get(token)?.();
    } catch (error) {
      log("node").error("A handler of a descriptor has failed", { error });
    }
  }
}

/** The poller of this process. */
export const poller: Poller = new Poller();

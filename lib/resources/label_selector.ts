/**
 * Labels as people type them: `env=prod,os=linux`, `a=b;"long name"="d e"`, and in the daemon's
 * `--labels` also commands: `kernel=[1h:"uname -r"]`. Loads nothing heavy: tsh imports it.
 */

import { BadParameter } from "../base/errors.ts";
import { parseDuration } from "../base/duration.ts";
import type { Labels } from "./types.ts";

/** A label whose value is what a command prints. */
export interface LabelCommand {
  name: string;
  command: string[];
  periodMs: number;
}

/**
 * `key=value` pairs, separated by commas or semicolons; either part may be in double quotes, where
 * `\"` and `\\` stand for themselves.
 * @throws BadParameter
 */
export function parseLabelSelector(text: string): Labels {
  const labels = new Map<string, string>();
  for (const { key, value, list } of new Scanner(text).pairs()) {
    if (list) throw problem(text, `the value of '${key}' must be in quotes to begin with '['`);
    if (labels.has(key)) throw problem(text, `'${key}' is there twice`);
    labels.set(key, value);
  }
  return Object.fromEntries(labels);
}

/** As {@link parseLabelSelector}, with `key=[period:command]` besides. @throws BadParameter */
export function parseLabelsFlag(text: string): { labels: Labels; commands: LabelCommand[] } {
  const labels = new Map<string, string>();
  const commands = new Map<string, LabelCommand>();
  for (const { key, value, list } of new Scanner(text).pairs()) {
    if (labels.has(key) || commands.has(key)) throw problem(text, `'${key}' is there twice`);
    if (list) commands.set(key, parseCommand(text, key, value));
    else labels.set(key, value);
  }
  return { labels: Object.fromEntries(labels), commands: [...commands.values()] };
}

/** Whether a text looks like labels rather than like a host's name. */
export function isLabelSelector(text: string): boolean {
  return text.includes("=");
}

/** `1h:"uname -r"` */
function parseCommand(text: string, name: string, body: string): LabelCommand {
  const parts = /^\s*([^:\s]+)\s*:\s*(.*?)\s*$/s.exec(body);
  if (!parts) throw problem(text, `the command of '${name}' is written like [1h:"uname -r"]`);
  const [, period = "", rest = ""] = parts;
  const quoted = /^"((?:[^"\\]|\\.)*)"$/s.exec(rest);
  const words = splitWords(text, quoted ? unescape(quoted[1] ?? "") : rest);
  if (words.length === 0) throw problem(text, `the command of '${name}' is empty`);
  return { name, command: words, periodMs: parseDuration(period) };
}

/** Words of a command line: blanks separate, single and double quotes hold together. */
function splitWords(text: string, line: string): string[] {
  const word = /\s*((?:[^\s"']|"[^"]*"|'[^']*')+)\s*/y;
  const words: string[] = [];
  while (word.lastIndex < line.length) {
    const found = word.exec(line);
    if (!found) throw problem(text, "a quote is not closed");
    words.push((found[1] ?? "").replace(/"([^"]*)"|'([^']*)'/g, "$1$2"));
  }
  return words;
}

interface PairText {
  key: string;
  value: string;
  /** The value was in square brackets, which are taken off. */
  list: boolean;
}

class Scanner {
  #position = 0;

  constructor(private readonly text: string) {}

  *pairs(): Generator<PairText> {
    do {
      const key = this.#part("=,;");
      if (key === "") throw problem(this.text, "a label is missing");
      if (!this.#skip("=")) throw problem(this.text, `'${key}' has no value`);
      yield { key, ...this.#value() };
    } while (this.#skip(",") || this.#skip(";"));
    if (this.#position < this.text.length) {
      throw problem(this.text, `there is something after a quoted part`);
    }
  }

  #value(): { value: string; list: boolean } {
    this.#blanks();
    if (this.text[this.#position] !== "[") return { value: this.#part(",;"), list: false };
    const inside = /\[((?:[^\]"\\]|"(?:[^"\\]|\\.)*")*)\]\s*/sy;
    inside.lastIndex = this.#position;
    const found = inside.exec(this.text);
    if (!found) throw problem(this.text, "a '[' is not closed");
    this.#position = inside.lastIndex;
    return { value: found[1] ?? "", list: true };
  }

  /** A quoted part, or everything up to one of `ends`, without the blanks around it. */
  #part(ends: string): string {
    this.#blanks();
    if (this.text[this.#position] === '"') {
      const quoted = /"((?:[^"\\]|\\.)*)"\s*/sy;
      quoted.lastIndex = this.#position;
      const found = quoted.exec(this.text);
      if (!found) throw problem(this.text, "a quote is not closed");
      this.#position = quoted.lastIndex;
      return unescape(found[1] ?? "");
    }
    const start = this.#position;
    while (this.#position < this.text.length && !ends.includes(this.text[this.#position] ?? "")) {
      this.#position++;
    }
    return this.text.slice(start, this.#position).trim();
  }

  #blanks(): void {
    while (/\s/.test(this.text[this.#position] ?? "")) this.#position++;
  }

  #skip(character: string): boolean {
    if (this.text[this.#position] !== character) return false;
    this.#position++;
    return true;
  }
}

function unescape(text: string): string {
  return text.replace(/\\(["\\])/g, "$1");
}

function problem(text: string, why: string): BadParameter {
  return new BadParameter(`Cannot read the labels ${JSON.stringify(text.slice(0, 200))}: ${why}`);
}

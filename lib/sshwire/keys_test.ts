import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { generateKeyPairSync, sign } from "node:crypto";
import fc from "fast-check";
import { concat, toBase64, toHex } from "../base/bytes.ts";
import { BadParameter } from "../base/errors.ts";
import { certificateAlgorithm } from "./certificate.ts";
import { WireReader, WireWriter } from "./codec.ts";
import { curves } from "./ecdsa.ts";
import {
  equalKeys,
  fingerprint,
  formatAuthorizedKey,
  generatePrivateKey,
  type KeyType,
  parseAuthorizedKey,
  parsePublicKey,
  type PrivateKey,
  privateKeyFromObject,
  type SignatureAlgorithm,
  signatureAlgorithms,
  verifySignature,
} from "./keys.ts";
import {
  damaged,
  inTempDir,
  keyTypes,
  makeKey,
  onlyBadParameter,
  sshKeygen,
  testKey,
} from "./test_openssh.ts";

const data = new TextEncoder().encode("data");
const keys = Object.fromEntries(keyTypes.map((type) => [type, testKey(type)])) as Record<
  KeyType,
  PrivateKey
>;

for (const type of keyTypes) {
  Deno.test(`parseAuthorizedKey() reads what ssh-keygen writes: ${type}`, () =>
    inTempDir(async (dir) => {
      await makeKey(`${dir}/key`, type);
      const line = await Deno.readTextFile(`${dir}/key.pub`);
      const { key, comment } = parseAuthorizedKey(line);
      assert.equal(key.type, type);
      assert.equal(comment, "a comment");
      assert.equal(formatAuthorizedKey(key, comment), line.trim());
      assert.equal(fingerprint(key), (await sshKeygen(["-lf", `${dir}/key.pub`])).split(" ")[1]);
    }));

  Deno.test(`verifySignature() takes what sign() made: ${type}`, () => {
    const key = keys[type];
    for (const algorithm of signatureAlgorithms[type]) {
      // ECDSA's integers are shorter or padded every so often.
      for (let i = 0; i < (type.startsWith("ecdsa") ? 100 : 2); i++) {
        const message = crypto.getRandomValues(new Uint8Array(i));
        const signature = key.sign(message, algorithm);
        assert(verifySignature(key.publicKey, message, signature));
        assert(verifySignature(key.publicKey, message, signature, [algorithm]));
        assert(!verifySignature(key.publicKey, concat(message, data), signature));
        assert(!verifySignature(key.publicKey, message, signature, []));
      }
    }
  });

  Deno.test(`verifySignature() refuses every damaged signature: ${type}`, () => {
    const key = keys[type];
    const signature = key.sign(data);
    fc.assert(fc.property(damaged(signature), fc.uint8Array(), (bad, random) => {
      fc.pre(toHex(bad) !== toHex(signature));
      assert.equal(verifySignature(key.publicKey, data, bad), false);
      assert.equal(verifySignature(key.publicKey, data, random), false);
    }));
  });

  Deno.test(`verifySignature() refuses the signature of another key: ${type}`, () => {
    const signature = testKey(type, "other").sign(data);
    for (const other of keyTypes) {
      assert.equal(verifySignature(keys[other].publicKey, data, signature), false);
    }
  });

  Deno.test(`parsePublicKey() throws nothing but BadParameter: ${type}`, () => {
    const { blob } = keys[type].publicKey;
    fc.assert(fc.property(damaged(blob), fc.uint8Array(), (bad, random) => {
      const key = onlyBadParameter(() => parsePublicKey(bad));
      if (key) assert.equal(toHex(key.blob), toHex(bad));
      assert.equal(onlyBadParameter(() => parsePublicKey(random)), undefined);
    }));
  });

  Deno.test(`attack 3: parsePublicKey() refuses a certificate in a key's place: ${type}`, () => {
    const reader = new WireReader(keys[type].publicKey.blob);
    reader.string();
    const blob = new WireWriter().string(certificateAlgorithm(type)).string(new Uint8Array(32))
      .raw(reader.rest()).bytes();
    assert.throws(() => parsePublicKey(blob), /got a certificate/);
  });
}

Deno.test("parsePublicKey() keeps no reference to the buffer that it was given", () => {
  const blob = Uint8Array.from(keys["ssh-ed25519"].publicKey.blob);
  const key = parsePublicKey(blob);
  blob.fill(0);
  assert(equalKeys(key, keys["ssh-ed25519"].publicKey));
});

Deno.test("parseAuthorizedKey() refuses options, other types, a wrong type word and line noise", () => {
  const ed25519 = formatAuthorizedKey(keys["ssh-ed25519"].publicKey);
  const [, base64] = ed25519.split(" ");
  for (
    const line of [
      "",
      "ssh-ed25519",
      base64!,
      `no-pty ${ed25519}`,
      `command="x y" ${ed25519}`,
      `ssh-rsa ${base64}`,
      `ssh-dss ${base64}`,
      `ssh-ed25519 ${base64!.slice(0, -2)}`,
      `ssh-ed25519 ${base64}\nssh-ed25519 ${base64}`,
      `ssh-ed25519-cert-v01@openssh.com ${base64}`,
      `__proto__ ${base64}`,
    ]
  ) {
    assert.throws(() => parseAuthorizedKey(line), BadParameter, JSON.stringify(line));
  }
});

Deno.test("parsePublicKey() refuses the types that are not supported, saying so", () => {
  for (const type of ["ssh-dss", "ecdsa-sha2-nistp521", "sk-ssh-ed25519@openssh.com", "", "x"]) {
    const blob = new WireWriter().string(type).string(new Uint8Array(32)).bytes();
    assert.throws(() => parsePublicKey(blob), /not supported/);
  }
});

function ed25519Blob(point: Uint8Array): Uint8Array {
  return new WireWriter().string("ssh-ed25519").string(point).bytes();
}

Deno.test("attack 15: parsePublicKey() refuses ed25519 keys that are short, long or empty", () => {
  for (const length of [0, 1, 31, 33, 64]) {
    const point = crypto.getRandomValues(new Uint8Array(length));
    assert.throws(() => parsePublicKey(ed25519Blob(point)), BadParameter);
  }
});

Deno.test("attack 15: parsePublicKey() refuses ed25519 points of low order, in every encoding", () => {
  const p = 2n ** 255n - 19n;
  const found = lowOrderY();
  assert.equal(found.length, 5);
  for (const y of found) {
    for (const encoded of [y, y + p].filter((value) => value < 2n ** 255n)) {
      for (const sign of [0, 0x80]) {
        const point = littleEndian(encoded);
        point[31]! |= sign;
        assert.throws(() => parsePublicKey(ed25519Blob(point)), BadParameter, toHex(point));
      }
    }
  }
});

Deno.test("attack 15: parsePublicKey() refuses ed25519 points that are off the curve", () => {
  const off = Array.from({ length: 64 }, (_, i) => littleEndian(BigInt(i + 2)))
    .filter((point) => onlyBadParameter(() => parsePublicKey(ed25519Blob(point))) === undefined);
  // About every other y has no x.
  assert(off.length > 16 && off.length < 48);
  // y = 2 has no x.
  assert.throws(() => parsePublicKey(ed25519Blob(littleEndian(2n))), BadParameter);
});

/** The y of all points P with 8P = 0, found by doubling, as RFC 8032 defines the curve. */
function lowOrderY(): bigint[] {
  const p = 2n ** 255n - 19n;
  const mod = (a: bigint) => ((a % p) + p) % p;
  const pow = (base: bigint, exponent: bigint) => {
    let result = 1n;
    for (let b = mod(base), e = exponent; e > 0n; e >>= 1n, b = mod(b * b)) {
      if (e & 1n) result = mod(result * b);
    }
    return result;
  };
  const inverse = (a: bigint) => pow(a, p - 2n);
  const d = mod(-121665n * inverse(121666n));
  const sqrt = (a: bigint) => {
    let r = pow(a, (p + 3n) / 8n);
    if (mod(r * r) !== mod(a)) r = mod(r * pow(2n, (p - 1n) / 4n));
    return mod(r * r) === mod(a) ? r : undefined;
  };
  // 2(x, y) has second coordinate (y² + x²) / (1 - d·x²·y²). For order 8 it is 0, so x² = -y², and
  // the curve -x² + y² = 1 + d·x²·y² becomes d·y⁴ + 2y² - 1 = 0.
  const root = sqrt(1n + d)!;
  const order8 = [root, -root].flatMap((each) => {
    const y = sqrt((each - 1n) * inverse(d));
    return y === undefined ? [] : [y, mod(-y)];
  });
  return [0n, 1n, p - 1n, ...order8];
}

function littleEndian(value: bigint): Uint8Array {
  return Uint8Array.from({ length: 32 }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));
}

Deno.test("attack 15: parsePublicKey() refuses RSA under 2048 and over 4096 bits", () => {
  const modulus = (bits: number) => {
    const n = new Uint8Array(Math.ceil(bits / 8)).fill(0xff);
    n[0] = 0xff >> (n.length * 8 - bits);
    return n;
  };
  for (const bits of [8, 512, 1024, 2047, 4097, 8192]) {
    const blob = new WireWriter().string("ssh-rsa").mpint(Uint8Array.of(1, 0, 1))
      .mpint(modulus(bits)).bytes();
    assert.throws(() => parsePublicKey(blob), new RegExp(`${bits}`));
  }
});

Deno.test("attack 15: parsePublicKey() refuses RSA exponents of 0, 1, 2, even ones, huge ones", () => {
  const { n } = keys["ssh-rsa"].keyObject.export({ format: "jwk" });
  const modulus = Buffer.from(n!, "base64url");
  for (const e of [[], [1], [2], [1, 0, 0], [0xff, 0xff, 0xff, 0xff, 0xff], modulus]) {
    const blob = new WireWriter().string("ssh-rsa").mpint(Uint8Array.from(e)).mpint(modulus)
      .bytes();
    assert.throws(() => parsePublicKey(blob), BadParameter, `${e}`);
  }
  modulus[modulus.length - 1]! &= 0xfe;
  const even = new WireWriter().string("ssh-rsa").mpint(Uint8Array.of(3)).mpint(modulus).bytes();
  assert.throws(() => parsePublicKey(even), BadParameter);
});

for (const type of ["ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384"] as const) {
  const { name, bytes, order, jwk } = curves[type];
  const blobOf = (curve: string, point: Uint8Array) =>
    new WireWriter().string(type).string(curve).string(point).bytes();
  const point = keys[type].publicKey.blob.slice(-(1 + 2 * bytes));

  Deno.test(`attack 15: parsePublicKey() refuses points off the curve, compressed or at infinity: ${type}`, () => {
    assert(parsePublicKey(blobOf(name, point)));
    const off = Uint8Array.from(point);
    off[off.length - 1]! ^= 1;
    const compressed = Uint8Array.from([2 + (point.at(-1)! & 1), ...point.slice(1, 1 + bytes)]);
    const zero = new Uint8Array(1 + 2 * bytes);
    const zero4 = Uint8Array.from(zero);
    zero4[0] = 4;
    for (const bad of [off, compressed, zero, zero4, Uint8Array.of(0), new Uint8Array()]) {
      assert.throws(() => parsePublicKey(blobOf(name, bad)), BadParameter, toHex(bad));
    }
  });

  Deno.test(`attack 16: parsePublicKey() refuses a curve that is not the type's: ${type}`, () => {
    for (const curve of ["nistp256", "nistp384", "nistp521", ""].filter((each) => each !== name)) {
      assert.throws(() => parsePublicKey(blobOf(curve, point)), /differs from its type/);
    }
  });

  Deno.test(`attack 17: verifySignature() refuses edge values of r and s: ${type}`, () => {
    const key = keys[type];
    const big = (value: bigint) => {
      const hex = value.toString(16);
      return Buffer.from(hex.padStart(hex.length + hex.length % 2, "0"), "hex");
    };
    const signature = new WireReader(key.sign(data));
    signature.string();
    const inner = new WireReader(signature.string());
    const r = inner.mpint();
    const s = inner.mpint();
    const valueOf = (magnitude: Uint8Array) => BigInt(`0x${toHex(magnitude)}`);
    const blob = (rs: Uint8Array) => new WireWriter().string(type).string(rs).bytes();
    const pair = (a: Uint8Array, b: Uint8Array) => new WireWriter().mpint(a).mpint(b).bytes();
    const good = pair(r, s);
    assert(verifySignature(key.publicKey, data, blob(good)));
    const zero = new Uint8Array();
    const bad = [
      pair(zero, s),
      pair(r, zero),
      pair(zero, zero),
      pair(big(order), s),
      pair(r, big(order)),
      pair(big(valueOf(r) + order), s),
      pair(r, big(valueOf(s) + order)),
      pair(big(1n), big(1n)),
      pair(big(order - 1n), big(order - 1n)),
      pair(new Uint8Array(bytes + 1).fill(0x11), s),
      pair(new Uint8Array(200).fill(0x11), s),
      concat(good, Uint8Array.of(0)),
      good.slice(0, -1),
      new WireWriter().string(concat(Uint8Array.of(0, 0), r)).mpint(s).bytes(),
      new WireWriter().string(big(2n ** BigInt(8 * bytes) - 1n)).mpint(s).bytes(),
      new WireWriter().mpint(r).bytes(),
      sign(jwk === "P-256" ? "sha256" : "sha384", data, key.keyObject),
    ];
    for (const rs of bad) assert.equal(verifySignature(key.publicKey, data, blob(rs)), false);
  });
}

Deno.test("attack 16: verifySignature() refuses RSA with SHA-1, under any name", () => {
  const { keyObject, publicKey } = keys["ssh-rsa"];
  const sha1 = sign("sha1", data, keyObject);
  for (const name of ["ssh-rsa", "rsa-sha2-256", "rsa-sha2-512", "rsa-sha2-1", "constructor"]) {
    const signature = new WireWriter().string(name).string(sha1).bytes();
    assert.equal(verifySignature(publicKey, data, signature), false);
    assert.equal(verifySignature(publicKey, data, signature, [name as SignatureAlgorithm]), false);
  }
});

Deno.test("attack 16: verifySignature() refuses an algorithm that is not the key type's", () => {
  for (const type of keyTypes) {
    const reader = new WireReader(keys[type].sign(data));
    const own = reader.utf8();
    const raw = reader.string();
    const all = Object.values(signatureAlgorithms).flat();
    for (const name of all.filter((each) => each !== own)) {
      const signature = new WireWriter().string(name).string(raw).bytes();
      assert.equal(verifySignature(keys[type].publicKey, data, signature, all), false);
    }
    assert.throws(() => keys[type].sign(data, type === "ssh-rsa" ? "ssh-ed25519" : "rsa-sha2-256"));
  }
});

Deno.test("attack 16: verifySignature() refuses a hash that the caller does not allow", () => {
  const signature = keys["ssh-rsa"].sign(data, "rsa-sha2-256");
  assert(verifySignature(keys["ssh-rsa"].publicKey, data, signature, ["rsa-sha2-256"]));
  assert(!verifySignature(keys["ssh-rsa"].publicKey, data, signature, ["rsa-sha2-512"]));
});

Deno.test("verifySignature() refuses ed25519's second encoding of the same signature (S + L)", () => {
  const order = 2n ** 252n + 27742317777372353535851937790883648493n;
  const reader = new WireReader(keys["ssh-ed25519"].sign(data));
  reader.string();
  const raw = Uint8Array.from(reader.string());
  const s = raw.slice(32).reduceRight((sum, byte) => sum * 256n + BigInt(byte), 0n);
  raw.set(littleEndian(s + order), 32);
  const signature = new WireWriter().string("ssh-ed25519").string(raw).bytes();
  assert.equal(verifySignature(keys["ssh-ed25519"].publicKey, data, signature), false);
});

Deno.test("privateKeyFromObject() refuses types that are not supported", () => {
  const { privateKey } = generateKeyPairSync("x25519");
  assert.throws(() => privateKeyFromObject(privateKey), BadParameter);
  const weak = generateKeyPairSync("rsa", { modulusLength: 1024 });
  assert.throws(() => privateKeyFromObject(weak.privateKey), /2048/);
});

Deno.test("fingerprint() and formatAuthorizedKey() differ between keys", () => {
  const a = generatePrivateKey().publicKey;
  const b = generatePrivateKey().publicKey;
  assert.notEqual(fingerprint(a), fingerprint(b));
  assert(!equalKeys(a, b));
  assert.equal(formatAuthorizedKey(a), `ssh-ed25519 ${toBase64(a.blob)}`);
});

Deno.test("generatePrivateKey() makes ed25519 unless told, and RSA of 3072 bits", () => {
  assert.equal(generatePrivateKey().publicKey.type, "ssh-ed25519");
  const { publicKey } = generatePrivateKey("ssh-rsa");
  const reader = new WireReader(publicKey.blob);
  reader.string();
  reader.mpint();
  assert.equal(reader.mpint().length * 8, 3072);
});

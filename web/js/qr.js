/** QR codes (ISO/IEC 18004) of short texts: bytes, error correction M, versions 1 to 10, which is up to 213 bytes. */

const SVG = 'http://www.w3.org/2000/svg';
/** Quiet zone around the code, in modules. */
const QUIET = 4;

/**
 * For each version: words of error correction in a block, and how many blocks hold how many words of data.
 * @type {{correction: number, blocks: [number, number][]}[]}
 */
const VERSIONS = [
  { correction: 10, blocks: [[1, 16]] },
  { correction: 16, blocks: [[1, 28]] },
  { correction: 26, blocks: [[1, 44]] },
  { correction: 18, blocks: [[2, 32]] },
  { correction: 24, blocks: [[2, 43]] },
  { correction: 16, blocks: [[4, 27]] },
  { correction: 18, blocks: [[4, 31]] },
  {
    correction: 22,
    blocks: [
      [2, 38],
      [2, 39],
    ],
  },
  {
    correction: 22,
    blocks: [
      [3, 36],
      [2, 37],
    ],
  },
  {
    correction: 26,
    blocks: [
      [4, 43],
      [1, 44],
    ],
  },
];

/** Centres of the alignment patterns, by version. */
const ALIGNMENT = [[], [6, 18], [6, 22], [6, 26], [6, 30], [6, 34], [6, 22, 38], [6, 24, 42], [6, 26, 46], [6, 28, 50]];

/** Powers of 2 and their logarithms in GF(256) by x^8 + x^4 + x^3 + x^2 + 1. */
const POWERS = new Uint8Array(510);
const LOGS = new Uint8Array(256);
for (let exponent = 0, value = 1; exponent < 255; exponent += 1) {
  POWERS[exponent] = POWERS[exponent + 255] = value;
  LOGS[value] = exponent;
  value = (value << 1) ^ (value & 0x80 ? 0x11d : 0);
}

/** @param {number} a @param {number} b */
const times = (a, b) => (a && b ? POWERS[LOGS[a] + LOGS[b]] : 0);

/**
 * @param {string} text
 * @returns {boolean[][]} Rows of modules, true is dark.
 * @throws {RangeError} if the text is too long.
 */
export function qr(text) {
  const bytes = new TextEncoder().encode(text);
  const version = VERSIONS.findIndex((_, index) => bytes.length <= capacity(index) - (index < 9 ? 2 : 3)) + 1;
  if (version === 0) throw new RangeError('too long for a QR code');
  const words = interleaved(dataWords(bytes, version), VERSIONS[version - 1]);
  const codes = [0, 1, 2, 3, 4, 5, 6, 7].map((mask) => draw(version, words, mask));
  const marks = codes.map(penalty);
  return codes[marks.indexOf(Math.min(...marks))];
}

/** @param {number} index Words of data of a version. */
function capacity(index) {
  return VERSIONS[index].blocks.reduce((sum, [count, words]) => sum + count * words, 0);
}

/**
 * @param {Uint8Array} bytes
 * @param {number} version
 */
function dataWords(bytes, version) {
  /** @type {number[]} */
  const bits = [];
  const put = (/** @type {number} */ value, /** @type {number} */ length) => {
    for (let bit = length - 1; bit >= 0; bit -= 1) bits.push((value >> bit) & 1);
  };
  const size = capacity(version - 1);
  put(4, 4);
  put(bytes.length, version < 10 ? 8 : 16);
  for (const byte of bytes) put(byte, 8);
  put(0, Math.min(4, size * 8 - bits.length));
  put(0, -bits.length & 7);
  for (let pad = 0xec; bits.length < size * 8; pad ^= 0xfd) put(pad, 8);
  return Array.from({ length: size }, (_, index) =>
    bits.slice(index * 8, index * 8 + 8).reduce((word, bit) => (word << 1) | bit, 0),
  );
}

/**
 * @param {number[]} data
 * @param {{correction: number, blocks: [number, number][]}} version
 */
function interleaved(data, { correction, blocks }) {
  /** @type {number[][]} */
  const parts = [];
  for (const [count, words] of blocks) {
    for (let block = 0; block < count; block += 1) parts.push(data.splice(0, words));
  }
  const checks = parts.map((part) => remainder(part, correction));
  const longest = Math.max(...parts.map((part) => part.length));
  const mixed = [];
  for (let at = 0; at < longest; at += 1)
    mixed.push(...parts.filter((part) => at < part.length).map((part) => part[at]));
  for (let at = 0; at < correction; at += 1) mixed.push(...checks.map((check) => check[at]));
  return mixed;
}

/**
 * The words of error correction (Reed-Solomon) of a block.
 * @param {number[]} data
 * @param {number} length
 */
function remainder(data, length) {
  let generator = [1];
  for (let root = 0; root < length; root += 1) {
    generator = [...generator, 0].map((value, at) => value ^ times(generator[at - 1] ?? 0, POWERS[root]));
  }
  const rest = [...data, ...new Array(length).fill(0)];
  for (let at = 0; at < data.length; at += 1) {
    const factor = rest[at];
    generator.forEach((value, offset) => (rest[at + offset] ^= times(value, factor)));
  }
  return rest.slice(data.length);
}

/** Which modules are inverted, by number of the mask. @type {((x: number, y: number) => boolean)[]} */
const MASKS = [
  (x, y) => (x + y) % 2 === 0,
  (_x, y) => y % 2 === 0,
  (x) => x % 3 === 0,
  (x, y) => (x + y) % 3 === 0,
  (x, y) => (((x / 3) | 0) + ((y / 2) | 0)) % 2 === 0,
  (x, y) => ((x * y) % 2) + ((x * y) % 3) === 0,
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2 === 0,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2 === 0,
];

/**
 * @param {number} version
 * @param {number[]} words
 * @param {number} mask
 */
function draw(version, words, mask) {
  const size = 17 + version * 4;
  /** @type {(boolean|undefined)[][]} */
  const grid = Array.from({ length: size }, () => new Array(size).fill(undefined));
  const set = (/** @type {number} */ x, /** @type {number} */ y, /** @type {boolean} */ dark) => {
    if (x >= 0 && y >= 0 && x < size && y < size) grid[y][x] = dark;
  };
  drawPatterns(version, size, set);
  drawFormat(size, mask, set);
  if (version >= 7) drawVersion(version, size, set);
  const bits = words.flatMap((word) => [7, 6, 5, 4, 3, 2, 1, 0].map((bit) => ((word >> bit) & 1) === 1));
  let next = 0;
  for (let right = size - 1; right > 0; right -= 2) {
    if (right === 6) right = 5;
    const upwards = ((size - 1 - right - (right < 6 ? 1 : 0)) / 2) % 2 === 0;
    for (let step = 0; step < size; step += 1) {
      const y = upwards ? size - 1 - step : step;
      for (const x of [right, right - 1]) {
        if (grid[y][x] !== undefined) continue;
        grid[y][x] = (bits[next] ?? false) !== MASKS[mask](x, y);
        next += 1;
      }
    }
  }
  return grid.map((row) => row.map(Boolean));
}

/**
 * Finders, timing and alignment.
 * @param {number} version
 * @param {number} size
 * @param {(x: number, y: number, dark: boolean) => void} set
 */
function drawPatterns(version, size, set) {
  for (let at = 0; at < size; at += 1) {
    set(6, at, at % 2 === 0);
    set(at, 6, at % 2 === 0);
  }
  for (const [cx, cy] of [
    [3, 3],
    [size - 4, 3],
    [3, size - 4],
  ]) {
    for (let dy = -4; dy <= 4; dy += 1) {
      for (let dx = -4; dx <= 4; dx += 1) {
        const ring = Math.max(Math.abs(dx), Math.abs(dy));
        set(cx + dx, cy + dy, ring !== 2 && ring !== 4);
      }
    }
  }
  const centres = ALIGNMENT[version - 1];
  const last = centres.length - 1;
  centres.forEach((cx, i) =>
    centres.forEach((cy, j) => {
      if ((i === 0 && j === 0) || (i === 0 && j === last) || (i === last && j === 0)) return;
      for (let dy = -2; dy <= 2; dy += 1) {
        for (let dx = -2; dx <= 2; dx += 1) set(cx + dx, cy + dy, Math.max(Math.abs(dx), Math.abs(dy)) !== 1);
      }
    }),
  );
}

/**
 * @param {number} size
 * @param {number} mask
 * @param {(x: number, y: number, dark: boolean) => void} set
 */
function drawFormat(size, mask, set) {
  let rest = mask; // error correction M is 00
  for (let step = 0; step < 10; step += 1) rest = (rest << 1) ^ (rest >> 9 ? 0x537 : 0);
  const bits = ((mask << 10) | rest) ^ 0x5412;
  const bit = (/** @type {number} */ at) => ((bits >> at) & 1) === 1;
  for (let at = 0; at <= 5; at += 1) set(8, at, bit(at));
  set(8, 7, bit(6));
  set(8, 8, bit(7));
  set(7, 8, bit(8));
  for (let at = 9; at < 15; at += 1) set(14 - at, 8, bit(at));
  for (let at = 0; at < 8; at += 1) set(size - 1 - at, 8, bit(at));
  for (let at = 8; at < 15; at += 1) set(8, size - 15 + at, bit(at));
  set(8, size - 8, true);
}

/**
 * @param {number} version
 * @param {number} size
 * @param {(x: number, y: number, dark: boolean) => void} set
 */
function drawVersion(version, size, set) {
  let rest = version;
  for (let step = 0; step < 12; step += 1) rest = (rest << 1) ^ (rest >> 11 ? 0x1f25 : 0);
  const bits = (version << 12) | rest;
  for (let at = 0; at < 18; at += 1) {
    const dark = ((bits >> at) & 1) === 1;
    const [a, b] = [size - 11 + (at % 3), Math.floor(at / 3)];
    set(a, b, dark);
    set(b, a, dark);
  }
}

/** How hard a code is to read: lower is better. @param {boolean[][]} code */
function penalty(code) {
  const size = code.length;
  const columns = code.map((_, x) => code.map((row) => row[x]));
  const runs = [...code, ...columns].map((line) => line.map((dark) => (dark ? '1' : '0')).join(''));
  let sum = 0;
  for (const run of runs) {
    for (const [same] of run.matchAll(/0{5,}|1{5,}/g)) sum += same.length - 2;
    sum += 40 * (run.match(/(?=00001011101|10111010000)/g) ?? []).length;
  }
  for (let y = 1; y < size; y += 1) {
    for (let x = 1; x < size; x += 1) {
      const dark = code[y][x];
      if (dark === code[y - 1][x] && dark === code[y][x - 1] && dark === code[y - 1][x - 1]) sum += 3;
    }
  }
  const share = code.flat().filter(Boolean).length / (size * size);
  return sum + Math.floor(Math.abs(share * 20 - 10)) * 10;
}

/**
 * @param {string} text
 * @param {string} label For screen readers.
 * @returns {SVGSVGElement}
 */
export function qrSvg(text, label) {
  const code = qr(text);
  const size = code.length + QUIET * 2;
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', `0 0 ${size} ${size}`);
  svg.setAttribute('role', 'img');
  svg.setAttribute('aria-label', label);
  svg.setAttribute('class', 'qr');
  const dark = code.flatMap((row, y) => row.flatMap((on, x) => (on ? [`M${x + QUIET} ${y + QUIET}h1v1h-1z`] : [])));
  const path = document.createElementNS(SVG, 'path');
  path.setAttribute('d', dark.join(''));
  svg.append(path);
  return svg;
}

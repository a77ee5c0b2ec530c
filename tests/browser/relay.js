/**
 * A bad network: a UDP relay on loopback between browsers and the server, which drops, delays,
 * reorders and repeats datagrams according to a seeded generator.
 */

import { createSocket } from 'node:dgram';
import { once } from 'node:events';

/** Clients at the same time; further ones are ignored. */
const CLIENTS_MAX = 32;
/** IPv4 and UDP headers, which take part of a line's rate. */
const HEADER_BYTES = 28;
/** Datagrams in flight at the same time; further ones are dropped. */
const QUEUE_MAX = 20_000;

/**
 * A small generator of known quality (mulberry32), so that runs are repeatable.
 * @param {number} seed
 */
function generator(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/**
 * @typedef {object} Path
 * @property {number} [loss] Share of datagrams lost, 0 to 1.
 * @property {number} [burst] How many are lost in a row.
 * @property {number} [delay] In milliseconds, one way.
 * @property {number} [jitter] Up to this many milliseconds more, without changing the order.
 * @property {number} [reorder] Share of datagrams that overtake others by 30 ms.
 * @property {number} [duplicate] Share of datagrams that arrive twice.
 * @property {number} [rate] Bits per second; others wait in a queue. Default: no limit.
 * @property {number} [queue] Milliseconds that the queue holds; what does not fit in is lost. Default 200.
 */

/**
 * One direction of one client: when the last datagram arrives, when the line has sent it, and how many more of a burst
 * are lost.
 * @typedef {{until: number, busy: number, losing: number}} Direction
 */
const FRESH = { until: 0, busy: 0, losing: 0 };

export class Relay {
  /** Where the server is. */
  target = 0;
  /** Loses everything. */
  blackout = false;
  counts = { passed: 0, lost: 0 };
  /** @type {number} */ port;

  #path;
  #random;
  /** @type {Map<string, {socket: import('node:dgram').Socket, up: Direction, down: Direction}>} */ #upstreams =
    new Map();
  /**
   * What is on its way, in the order in which it arrives.
   * @type {{at: number, send: () => void}[]}
   */
  #flying = [];
  /** @type {NodeJS.Timeout|undefined} For the first of them. */ #timer;
  #socket = createSocket('udp4').bind(0, '127.0.0.1');

  /**
   * @param {Path} path
   * @param {number} seed
   */
  constructor(path, seed) {
    this.#path = path;
    this.#random = generator(seed);
  }

  /** @param {Path} [path] Both directions. */
  static async start(path = {}, seed = 1) {
    const relay = new Relay(path, seed);
    relay.#socket.on('message', (data, client) => relay.#up(data, client));
    await once(relay.#socket, 'listening');
    relay.port = relay.#socket.address().port;
    return relay;
  }

  /** From now on the server sees every client at a new address, as after a change of network. */
  rebind() {
    for (const { socket } of this.#upstreams.values()) socket.close();
    this.#upstreams.clear();
  }

  stop() {
    clearTimeout(this.#timer);
    this.rebind();
    this.#socket.close();
  }

  /**
   * @param {Buffer} data
   * @param {import('node:dgram').RemoteInfo} client
   */
  #up(data, client) {
    const key = `${client.address}:${client.port}`;
    let upstream = this.#upstreams.get(key);
    if (!upstream) {
      if (this.#upstreams.size === CLIENTS_MAX) return;
      const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 }).bind(0, '127.0.0.1');
      upstream = { socket, up: { ...FRESH }, down: { ...FRESH } };
      socket.on('message', (reply) => {
        this.#pass(upstream.down, reply.length, () => this.#socket.send(reply, client.port, client.address));
      });
      this.#upstreams.set(key, upstream);
    }
    const { socket } = upstream;
    this.#pass(upstream.up, data.length, () => {
      if (this.#upstreams.get(key)?.socket === socket) socket.send(data, this.target, '127.0.0.1');
    });
  }

  /**
   * @param {Direction} direction
   * @param {number} bytes
   * @param {() => void} send
   */
  #pass(direction, bytes, send) {
    const { loss = 0, burst = 1, delay = 0, jitter = 0, reorder = 0, duplicate = 0 } = this.#path;
    const { rate = Infinity, queue = 200 } = this.#path;
    if (direction.losing === 0 && this.#random() < loss / burst) direction.losing = burst;
    const now = performance.now();
    const sent = Math.max(now, direction.busy) + ((bytes + HEADER_BYTES) * 8_000) / rate;
    const fits = sent - now <= queue || rate === Infinity;
    if (direction.losing > 0) direction.losing -= 1;
    else if (!this.blackout && fits && this.#flying.length < QUEUE_MAX) {
      this.counts.passed += 1;
      direction.busy = sent;
      let at = sent + delay + this.#random() * jitter;
      if (this.#random() < reorder) at = Math.max(now, at - 30);
      else direction.until = at = Math.max(at, direction.until);
      this.#later(at, send);
      if (this.#random() < duplicate) this.#later(at + 5, send);
      return;
    }
    this.counts.lost += 1;
  }

  /**
   * @param {number} at By `performance.now()`.
   * @param {() => void} send
   */
  #later(at, send) {
    let place = this.#flying.length;
    while (place > 0 && this.#flying[place - 1].at > at) place -= 1;
    this.#flying.splice(place, 0, { at, send });
    // One timer for all of them: Node keeps no order among timers of different lengths.
    if (place === 0) this.#land();
  }

  /** Sends what is due, and waits for the next one. */
  #land() {
    clearTimeout(this.#timer);
    const now = performance.now();
    const next = this.#flying.findIndex(({ at }) => at > now);
    for (const { send } of this.#flying.splice(0, next < 0 ? this.#flying.length : next)) send();
    if (next >= 0) this.#timer = setTimeout(() => this.#land(), Math.ceil(this.#flying[0].at - now));
  }
}

/**
 * Sends a page's media through a relay. The server's candidates in every answer are replaced by the relay, and the
 * page announces none of its own, because a server could send to them directly. A connection takes the relay with the
 * index in its property `relay`, or the first one.
 * @param {import('playwright-core').Page} page
 * @param {...Relay} relays
 */
export async function through(page, ...relays) {
  await page.exposeFunction('relayTo', (/** @type {number} */ index, /** @type {number} */ port) => {
    relays[index].target = port;
  });
  await page.addInitScript(
    (ports) => {
      /**
       * @param {string} type
       * @param {EventListenerOrEventListenerObject} listener
       * @param {boolean|AddEventListenerOptions} [options]
       */
      RTCPeerConnection.prototype.addEventListener = function listen(type, listener, options) {
        const last = (/** @type {Event} */ event) => {
          const { candidate } = /** @type {RTCPeerConnectionIceEvent} */ (event);
          if (!candidate?.candidate) /** @type {EventListener} */ (listener).call(this, event);
        };
        EventTarget.prototype.addEventListener.call(this, type, type === 'icecandidate' ? last : listener, options);
      };
      /** @type {(description: RTCSessionDescriptionInit) => Promise<void>} */
      const original = RTCPeerConnection.prototype.setRemoteDescription;
      RTCPeerConnection.prototype.setRemoteDescription = async function set(description) {
        const candidate = /(a=candidate:.* udp .* )(127\.0\.0\.1) (\d+)( typ host)/gi;
        const [, , , target] = [...description.sdp.matchAll(candidate)][0] ?? [];
        const index = this.relay ?? 0;
        if (target) await window.relayTo(index, Number(target));
        return original.call(this, {
          type: description.type,
          sdp: description.sdp.replace(candidate, `$1$2 ${ports[index]}$4`).replace(/a=candidate:.* tcp .*\r\n/gi, ''), // past the relay
        });
      };
    },
    relays.map(({ port }) => port),
  );
}

/** The pure parts of the modules, without a browser. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { importPages } from './node-modules.js';
import { textOf } from './texts.js';

const { SessionError, retryAfter } = await importPages('errors.js');
const { CatchUp } = await importPages('catch-up.js');
const { WhepClient } = await importPages('whep.js');
const { fragment, iceServers, withOpusParameters, withStartBitrate } = await importPages('sdp.js');
const { freeName, stalledText, transcodingText } = await importPages('broadcasts.js');
const { afterEvent } = await importPages('broadcast-list.js');
const { qualities, smallest } = await importPages('player-quality.js');
const { qr } = await importPages('qr.js');
const { path, POINTS } = await importPages('sparkline.js');
const { PlayoutDelay } = await importPages('playout-delay.js');
const { advice } = await importPages('studio-advice.js');
const { findings } = await importPages('obs-findings.js');

const OFFER = [
  'v=0',
  'o=- 1 2 IN IP4 127.0.0.1',
  's=-',
  't=0 0',
  'a=group:BUNDLE 0 1',
  'm=video 9 UDP/TLS/RTP/SAVPF 96',
  'a=ice-ufrag:abcd',
  'a=ice-pwd:0123456789012345678901',
  'a=mid:0',
  'a=rtpmap:96 VP8/90000',
  'm=audio 9 UDP/TLS/RTP/SAVPF 111 0',
  'a=mid:1',
  'a=rtpmap:111 opus/48000/2',
  'a=fmtp:111 minptime=10;useinbandfec=1',
  'a=rtpmap:0 PCMU/8000',
  '',
].join('\r\n');

test('opus parameters are added to an existing fmtp', () => {
  const sdp = withOpusParameters(OFFER, { 'stereo': 1, 'sprop-stereo': 1 });
  assert.match(sdp, /^a=fmtp:111 minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1\r$/m);
  assert.equal(withOpusParameters(sdp, { stereo: 1 }).match(/stereo=1/g).length, 2);
});

test('a missing fmtp is created, line ends stay', () => {
  const sdp = withOpusParameters(OFFER.replace(/a=fmtp.*\r\n/, ''), { stereo: 1 });
  assert.match(sdp, /a=rtpmap:111 opus\/48000\/2\r\na=fmtp:111 stereo=1\r\n/);
  assert.match(
    withStartBitrate(OFFER, 1_500_000),
    /a=rtpmap:96 VP8\/90000\r\na=fmtp:96 x-google-start-bitrate=1500\r\n/,
  );
});

test('a fragment has credentials, candidates by section, and the end', () => {
  const candidates = [{ sdpMid: '0', candidate: 'candidate:1 1 udp 1 127.0.0.1 5000 typ host' }];
  assert.equal(
    fragment(OFFER, candidates, true),
    [
      'a=group:BUNDLE 0 1',
      'a=ice-ufrag:abcd',
      'a=ice-pwd:0123456789012345678901',
      'm=video 9 UDP/TLS/RTP/SAVPF 0',
      'a=mid:0',
      'a=candidate:1 1 udp 1 127.0.0.1 5000 typ host',
      'a=end-of-candidates',
      '',
    ].join('\r\n'),
  );
  assert.doesNotMatch(fragment(OFFER, candidates, false), /end-of-candidates/);
});

test('ice servers come from Link headers, other links do not', () => {
  const header =
    '<stun:stun.example:3478>; rel="ice-server", <turn:turn.example?transport=udp>; rel="ice-server"; username="a,b"; credential="p\\"w"; credential-type="password", <https://x.example>; rel="next"';
  assert.deepEqual(iceServers(header), [
    { urls: 'stun:stun.example:3478' },
    { urls: 'turn:turn.example?transport=udp', username: 'a,b', credential: 'p"w' },
  ]);
  assert.deepEqual(iceServers(null), []);
});

test('errors know what to do and what to say', async () => {
  const conflict = () =>
    new Response('{"detail":"taken"}', {
      status: 409,
      headers: { 'Content-Type': 'application/problem+json', 'Retry-After': '2' },
    });
  const publisher = await SessionError.fromResponse(conflict(), 'whip');
  assert.deepEqual([publisher.kind, publisher.retryable, publisher.problem.detail], ['name-taken', false, 'taken']);
  const viewer = await SessionError.fromResponse(conflict(), 'whep');
  assert.deepEqual([viewer.kind, viewer.retryable, viewer.retryAfter], ['not-live', true, 2_000]);
  const full = new Response('{"type":"urn:aerial:problem:full"}', {
    status: 503,
    headers: { 'Content-Type': 'application/problem+json' },
  });
  assert.equal((await SessionError.fromResponse(full, 'whep')).words, textOf('problem-full'));
  assert.equal((await SessionError.fromResponse(new Response('', { status: 503 }), 'whep')).kind, 'busy');
  assert.equal(
    (
      await SessionError.fromResponse(
        new Response('{', { status: 422, headers: { 'Content-Type': 'application/json' } }),
        'whep',
      )
    ).kind,
    'unsupported',
  );
  assert.notEqual(publisher.words, viewer.words);
});

test('Retry-After is seconds or a date, and bounded', () => {
  assert.equal(retryAfter('2'), 2_000);
  assert.equal(retryAfter(null), 0);
  assert.equal(retryAfter('nonsense'), 0);
  assert.equal(retryAfter('100000'), 60_000);
  const soon = retryAfter(new Date(Date.now() + 5_000).toUTCString());
  assert.ok(soon > 3_000 && soon <= 5_000);
});

test('automatic transcoding is shown, with the reason', () => {
  assert.equal(transcodingText(undefined), '');
  const renditions = [
    { name: '720p', codec: 'h264', viewers: 3 },
    { name: 'vp8', codec: 'vp8', viewers: 1, misfit: { kind: 'profile', codec: 'h264', profile: 'high' } },
  ];
  const tracks = [{ kind: 'audio', codec: 'opus', transcoded_from: 'audio/mpeg' }];
  assert.equal(
    transcodingText({ renditions, tracks }),
    [
      textOf('transcoded-for', {
        codec: 'VP8',
        count: 1,
        reason: textOf('misfit-profile', { codec: 'H.264', profile: 'high' }),
      }),
      textOf('transcoded-from', { codec: 'Opus', from: 'audio/mpeg' }),
    ].join('; '),
  );
});

test('tracks that have stopped are named while the broadcast is live', () => {
  const tracks = [
    { kind: 'video', codec: 'h264', stalled: true },
    { kind: 'audio', codec: 'opus' },
  ];
  assert.equal(stalledText(undefined), '');
  assert.equal(stalledText({ state: 'stale', tracks }), '');
  assert.equal(stalledText({ state: 'live', tracks }), textOf('video-stopped'));
});

test('events replace the list; changes replace, add and remove broadcasts', () => {
  const before = [
    { name: 'a', viewers: 1 },
    { name: 'c', viewers: 1 },
  ];
  const changed = [
    { name: 'b', viewers: 0 },
    { name: 'a', viewers: 2 },
  ];
  assert.deepEqual(afterEvent(before, 'changes', { changed, removed: ['c'] }), [
    { name: 'a', viewers: 2 },
    { name: 'b', viewers: 0 },
  ]);
  assert.deepEqual(afterEvent(before, 'changes', { changed: [], removed: [] }), before);
  assert.deepEqual(afterEvent(null, 'broadcasts', { broadcasts: before }), before);
  assert.deepEqual(afterEvent(before, 'broadcast', changed[0]), [changed[0]]);
  assert.deepEqual(afterEvent(before, 'broadcast', null), []);
});

/**
 * When a picture counts as live, in milliseconds from its first frame on. `decoded` gives the frames decoded by then.
 * @param {(at: number) => number} decoded
 */
function liveAfter(decoded) {
  const catchUp = new CatchUp();
  assert.equal(catchUp.lasts(0, 950), false);
  for (let at = 0; at < 10_000; at += 50) {
    // Browsers keep their figures for a while.
    const kept = at - (at % 60);
    if (!catchUp.lasts(Math.floor(decoded(kept)) + 1, 1_000 + at)) return at;
  }
  return Infinity;
}

test('a picture counts as live when it has caught up', () => {
  for (const rate of [0.25, 15, 30, 60]) {
    assert.ok(liveAfter((at) => (at * rate) / 1_000) <= 150, `${rate} frames a second`);
  }
  // Eight seconds of 30 frames a second within 1.2 s.
  const caughtUp = liveAfter((at) => (at < 1_200 ? at / 5 : 240 + ((at - 1_200) * 30) / 1_000));
  assert.ok(caughtUp >= 1_200 && caughtUp <= 1_450, `${caughtUp}`);
  // One that never slows down is shown all the same.
  assert.ok(liveAfter((at) => (at * 240) / 1_000) <= 2_100);
});

/**
 * The states of a viewer that gets a second of everything, then this in each quarter of 20 s.
 * @param {import('node:test').TestContext} t
 * @param {{sound?: number, picture?: number, frames?: number, reported?: number}} rest Bytes and frames, and packets that
 *   the server reports as sent.
 * @param {(now: number) => string} [said] What the server says of the broadcast.
 */
async function statesWith(t, rest, said = () => '') {
  let now = 0;
  t.mock.method(performance, 'now', () => now);
  const sound = { type: 'inbound-rtp', kind: 'audio', bytesReceived: 0 };
  const picture = { type: 'inbound-rtp', kind: 'video', bytesReceived: 0, framesDecoded: 0, packetsReceived: 0 };
  const report = { type: 'remote-outbound-rtp', packetsSent: 0 };
  /** @type {object[]} */
  const none = [];
  const peer = {
    getStats: async () => [sound, picture, report],
    getTransceivers: () => none,
    addTransceiver: () => {},
  };
  const client = new WhepClient('http://localhost/whep/x');
  client.prepare(peer);
  const states = new Set();
  for (let quarter = 0; quarter < 84; quarter += 1) {
    const media = quarter < 4 ? { sound: 900, picture: 9_000, frames: 7, reported: 10 } : rest;
    now += 250;
    sound.bytesReceived += media.sound ?? 0;
    picture.bytesReceived += media.picture ?? 0;
    picture.packetsReceived += media.picture ? 10 : 0;
    picture.framesDecoded += media.frames ?? 0;
    report.packetsSent += media.reported ?? 0;
    const state = client.probe({ peer, ask: async () => ({ gone: false, state: said(now) }) });
    states.add(await state.catch((/** @type {Error} */ error) => Reflect.get(error, 'kind')));
  }
  return [...states];
}

test('a picture that pauses while sound goes on is live', async (t) => {
  assert.deepEqual(await statesWith(t, { sound: 900 }), ['connecting', 'live']);
});

test('a picture that arrives and is not decoded is none', async (t) => {
  assert.deepEqual(await statesWith(t, { sound: 900, picture: 9_000 }), ['connecting', 'live', 'offline', 'stalled']);
});

test('without any media a viewer is offline', async (t) => {
  assert.deepEqual(await statesWith(t, {}), ['connecting', 'live', 'offline', 'stalled']);
});

test('without any media a viewer of a live broadcast is live: it pauses', async (t) => {
  assert.deepEqual(await statesWith(t, {}, () => 'live'), ['connecting', 'live']);
});

test('a pause ends when the server says so', async (t) => {
  const said = (/** @type {number} */ now) => (now < 4_000 ? 'live' : 'stale');
  assert.deepEqual(await statesWith(t, {}, said), ['connecting', 'live', 'offline', 'stalled']);
});

test('what the server has sent and nobody has received is no pause', async (t) => {
  const states = await statesWith(t, { reported: 10 }, () => 'live');
  assert.deepEqual(states, ['connecting', 'live', 'offline', 'stalled']);
});

test('the qualities are what was sent and what the server makes', () => {
  const labels = (/** @type {object|null} */ broadcast) =>
    qualities(broadcast).map((/** @type {{label: string}} */ { label }) => label);
  const track = { kind: 'video', codec: 'h264' };
  assert.deepEqual(labels(null), []);
  assert.deepEqual(labels({ tracks: [track] }), []);
  const renditions = [
    { name: '360p', kind: 'video', codec: 'h264', viewers: 0 },
    { name: '720p', kind: 'video', codec: 'h264', viewers: 0 },
    { name: 'vp8', kind: 'video', codec: 'vp8', viewers: 1, misfit: { kind: 'codec', codec: 'h264' } },
  ];
  assert.deepEqual(labels({ tracks: [track], renditions }), ['Auto', 'Original', '720p', '360p']);
  assert.deepEqual(labels({ tracks: [{ ...track, layers: ['high', 'low'] }] }), ['Auto', 'high', 'low']);
});

test('the smallest quality is a rendition of known size', () => {
  const of = (/** @type {string[]} */ names, /** @type {string[]} */ ...layers) => {
    const renditions = names.map((name) => ({ name, kind: 'video', codec: 'h264', viewers: 0 }));
    /** @type {any} */
    const broadcast = { tracks: [{ kind: 'video', codec: 'h264', layers }], renditions };
    return smallest(broadcast)?.label;
  };
  assert.equal(of([]), undefined);
  assert.equal(of(['vp9']), undefined, 'as large as the original');
  assert.equal(of(['240p', 'vp9', '720p']), '240p');
  assert.equal(of([], 'l', 'm', 'h'), undefined, 'nobody knows which is the smallest');
});

test('a name that is free is found', () => {
  const taken = ['show', 'show-2'];
  assert.equal(
    freeName('show', (/** @type {string} */ name) => taken.includes(name)),
    'show-3',
  );
  assert.ok(freeName('a'.repeat(64), () => false).length <= 64);
});

test('a QR code has its patterns, its format and room for its text', () => {
  const code = qr('http://127.0.0.1:8080/watch/demo');
  assert.equal(code.length, 29, 'version 3');
  const row = (/** @type {number} */ y, /** @type {number} */ from, /** @type {number} */ to) =>
    code[y].slice(from, to).map(Number).join('');
  assert.equal(row(0, 0, 8), '11111110');
  assert.equal(row(2, 0, 8), '10111010');
  assert.equal(row(6, 8, 21), '1010101010101');
  assert.equal(code[21][8], true, 'the module that is always dark');
  assert.equal(qr('x'.repeat(213)).length, 57);
  assert.throws(() => qr('x'.repeat(214)), RangeError);
});

test('media from OBS is judged', () => {
  /** @type {any} */
  const codec = { id: 'c', mimeType: 'video/H264', sdpFmtpLine: 'profile-level-id=640028' };
  const at = (/** @type {number} */ seconds, /** @type {number} */ keyFramesDecoded) => {
    /** @type {any} */
    const video = { type: 'inbound-rtp', kind: 'video', codecId: 'c', timestamp: seconds * 1_000, keyFramesDecoded };
    Object.assign(video, {
      frameWidth: 1_920,
      frameHeight: 1_080,
      framesPerSecond: 30,
      bytesReceived: seconds * 50_000,
    });
    return new Map([
      ['v', video],
      ['c', codec],
    ]);
  };
  const first = at(0, 1);
  const last = { reports: at(19, 2), first };
  const broadcast = { renditions: [{ name: 'x', misfit: { kind: 'b_frames' } }] };
  const advice = (/** @type {{advice: string}[]} */ found) => found.map(({ advice }) => advice).filter(Boolean);
  assert.deepEqual(advice(findings({ reports: at(20, 2), first }, last, broadcast)), [
    'obs-advice-profile',
    'obs-advice-bitrate',
    'obs-advice-keyframes',
    'obs-advice-bframes',
    'obs-advice-audio',
  ]);
  codec.sdpFmtpLine = 'profile-level-id=42e01f';
  /** @type {any} */
  const sound = { type: 'inbound-rtp', kind: 'audio', packetsReceived: 9 };
  const good = at(20, 11);
  good.get('v').bytesReceived += 350_000;
  assert.deepEqual(advice(findings({ reports: good.set('a', sound), first }, last, undefined)), []);
});

test('a sparkline ends at its newest figure and is broken where there is none', () => {
  assert.equal(path([], 1), '');
  assert.equal(path([0, 10, null, 5], 10), `M${POINTS - 4} 22.0L${POINTS - 3} 2.0M${POINTS - 1} 12.0`);
  assert.equal(path([1], 10), `M${POINTS - 1} 20.0`, 'small changes stay small');
});

test('the delay is told by the clock of the server, as the fastest report gives it', () => {
  const unix = 1_800_000_000_000;
  const reports = (/** @type {object} */ media, /** @type {object|null} */ report) =>
    new Map(
      /** @type {any[]} */ ([
        { id: 'i', type: 'inbound-rtp', kind: 'video', remoteId: 'o', timestamp: unix, ...media },
        { id: 'o', type: 'remote-outbound-rtp', ...report },
      ]).map((each) => [each.id, each]),
    );
  const shown = { estimatedPlayoutTimestamp: unix + 2_208_988_800_000 + 5_000 - 120 };
  const delay = new PlayoutDelay();
  assert.equal(delay.of(reports({}, null), 20), null, 'the browser does not tell');
  // The server's clock is 5 s ahead, and the report was on its way for 10 ms.
  const sent = { remoteTimestamp: unix + 4_000, timestamp: unix - 1_000 + 10 };
  assert.equal(delay.of(reports(shown, sent), 20), 120);
  // A report that took 300 ms more says nothing new.
  assert.equal(delay.of(reports(shown, { ...sent, remoteTimestamp: sent.remoteTimestamp - 300 }), 20), 120);
  delay.reset();
  assert.equal(delay.of(reports(shown, { ...sent, timestamp: unix - 1_000 - 30 }), 20), 160);
});

test('a publisher is told what is wrong, the worst first', () => {
  const video = (/** @type {string} */ limited) => ({ limited, bitrate: 900_000 });
  const good = { video: video(''), rtt: 40, loss: 0.01, available: 3_000_000 };
  for (const [changed, words] of /** @type {[object, RegExp][]} */ ([
    [{}, /^$/],
    [{ rtt: null, loss: null, video: null }, /^$/],
    [{ video: video('bandwidth'), available: 1_200_000 }, /1\.2 Mb\/s/],
    [{ video: video('bandwidth'), available: null }, /900 kb\/s/],
    [{ video: video('cpu'), loss: 0.3 }, new RegExp(textOf('advice-cpu'))],
    [{ loss: 0.08, rtt: 900 }, /8 %/],
    [{ rtt: 900 }, /900 ms/],
  ]))
    assert.match(advice({ ...good, ...changed }), words);
});

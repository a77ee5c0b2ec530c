/** Small pure edits of SDP text that browsers offer no API for. */

/**
 * Lets the encoder begin at this bitrate. Chromium's begins at 300 kb/s, which makes the first
 * seconds of every broadcast small and jerky; others do not know the parameter.
 * @param {string} sdp The answer.
 * @param {number} bitrate Bits per second.
 * @returns {string}
 */
export function withStartBitrate(sdp, bitrate) {
  const video = [...sdp.matchAll(/^a=rtpmap:(\d+) (?:H26[45]|VP[89]|AV1)\/90000/gim)].map((match) => match[1]);
  return video.reduce(
    (text, type) => withFmtp(text, type, { 'x-google-start-bitrate': Math.round(bitrate / 1000) }),
    sdp,
  );
}

/**
 * Adds parameters to the fmtp of every Opus payload type. Browsers decode to stereo only if their
 * own description says `stereo=1`, and encode it only if the other side's does (RFC 7587 §6.1).
 * @param {string} sdp
 * @param {Record<string, string|number>} parameters
 * @returns {string}
 */
export function withOpusParameters(sdp, parameters) {
  const opus = [...sdp.matchAll(/^a=rtpmap:(\d+) opus\/48000/gim)].map((match) => match[1]);
  return opus.reduce((text, type) => withFmtp(text, type, parameters), sdp);
}

/**
 * @param {string} sdp
 * @param {string} type
 * @param {Record<string, string|number>} parameters
 * @returns {string}
 */
function withFmtp(sdp, type, parameters) {
  const line = new RegExp(`^a=fmtp:${type} (.*?)(\\r?)$`, 'm');
  const had =
    line
      .exec(sdp)?.[1]
      .split(';')
      .map((part) => part.trim())
      .filter(Boolean) ?? [];
  const kept = had.filter((part) => !(part.split('=')[0].toLowerCase() in parameters));
  const added = Object.entries(parameters).map(([key, value]) => `${key}=${value}`);
  const fmtp = `a=fmtp:${type} ${[...kept, ...added].join(';')}`;
  return had.length > 0
    ? sdp.replace(line, `${fmtp}$2`)
    : sdp.replace(new RegExp(`^(a=rtpmap:${type} .*?)(\\r?)$`, 'm'), `$1$2\n${fmtp}$2`);
}

/**
 * A trickle fragment (RFC 8840 §9, RFC 9725 §4.3.2) with these candidates.
 * @param {string} offer The offer that the session was made with.
 * @param {RTCIceCandidate[]} candidates
 * @param {boolean} complete True if no more candidates will come.
 * @returns {string}
 */
export function fragment(offer, candidates, complete) {
  const lines = [`a=ice-ufrag:${attribute(offer, 'ice-ufrag')}`, `a=ice-pwd:${attribute(offer, 'ice-pwd')}`];
  const group = /^a=group:BUNDLE .*?$/m.exec(offer)?.[0].trim();
  if (group) lines.unshift(group);
  for (const section of sections(offer)) {
    const own = candidates.filter((candidate) => candidate.sdpMid === section.mid);
    // With everything bundled, the first section speaks for all.
    const last = complete && (own.length > 0 || section.first);
    if (own.length === 0 && !last) continue;
    lines.push(`m=${section.kind} 9 UDP/TLS/RTP/SAVPF 0`, `a=mid:${section.mid}`);
    lines.push(...own.map((candidate) => `a=${candidate.candidate}`));
    if (last) lines.push('a=end-of-candidates');
  }
  return lines.map((line) => `${line}\r\n`).join('');
}

/**
 * @param {string} sdp
 * @param {string} name
 * @returns {string}
 */
function attribute(sdp, name) {
  return new RegExp(`^a=${name}:(.*?)\\r?$`, 'm').exec(sdp)?.[1] ?? '';
}

/**
 * @param {string} sdp
 * @returns {{kind: string, mid: string, first: boolean}[]}
 */
function sections(sdp) {
  return sdp
    .split(/^m=/m)
    .slice(1)
    .map((text, index) => ({
      kind: text.split(' ', 1)[0],
      mid: attribute(text, 'mid'),
      first: index === 0,
    }));
}

/**
 * The ICE servers in `Link` headers: `<turn:host>; rel="ice-server"; username="u"; credential="p"`
 * (RFC 9725 §4.6).
 * @param {string|null} header All Link lines, joined by `, ` as fetch does.
 * @returns {RTCIceServer[]}
 */
export function iceServers(header) {
  if (!header) return [];
  return header.split(/,\s*(?=<)/).flatMap((link) => {
    const url = /^\s*<((?:stun|turn)s?:[^>]+)>/i.exec(link)?.[1];
    if (!url || !/;\s*rel="?ice-server"?/i.test(link)) return [];
    const value = (/** @type {string} */ key) =>
      new RegExp(`;\\s*${key}="((?:[^"\\\\]|\\\\.)*)"`, 'i').exec(link)?.[1].replace(/\\(.)/g, '$1');
    const username = value('username');
    const credential = value('credential');
    return [
      { urls: url, ...(username !== undefined && { username }), ...(credential !== undefined && { credential }) },
    ];
  });
}

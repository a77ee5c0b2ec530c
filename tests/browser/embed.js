/** In a page of its own origin: the players and publishers that people install from npm. */

import { WebRTCPlayer } from '@eyevinn/webrtc-player';
import { WHIPClient as EyevinnWhip } from '@eyevinn/whip-web-client';
import { WHEPClient as MedoozeWhep } from 'whip-whep/whep.js';
import { WHIPClient as MedoozeWhip } from 'whip-whep/whip.js';

/**
 * Every peer connection that the packages create.
 * @type {RTCPeerConnection[]}
 */
const peers = [];
const NativePeer = window.RTCPeerConnection;
window.RTCPeerConnection = class extends NativePeer {
  /** @param {RTCConfiguration} [configuration] */
  constructor(configuration) {
    super(configuration);
    peers.push(this);
  }
};

/** Frames decoded so far, of all of them. */
window.decoded = async () => {
  let frames = 0;
  for (const peer of peers) {
    (await peer.getStats()).forEach((report) => {
      if (report.type === 'inbound-rtp' && report.kind === 'video') frames += report.framesDecoded ?? 0;
    });
  }
  return frames;
};

/** A camera and a microphone, small enough for a busy machine. */
const capture = () => navigator.mediaDevices.getUserMedia({ video: { width: 320, height: 180 }, audio: true });

/** Each one resolves once it has its answer; `stop` ends it as its users do. */
window.start = {
  async eyevinnWhip(endpoint) {
    const client = new EyevinnWhip({ endpoint, opts: {} });
    await client.setIceServersFromEndpoint();
    await client.ingest(await capture());
    window.stop = () => client.destroy();
  },

  async eyevinnPlayer(url) {
    const video = document.querySelector('video');
    const player = new WebRTCPlayer({ video, type: 'whep' });
    await player.load(new URL(url));
    player.unmute();
    window.stop = () => player.unload();
  },

  async medoozeWhip(url) {
    const peer = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    for (const track of (await capture()).getTracks()) {
      const transceiver = peer.addTransceiver(track, { direction: 'sendonly' });
      if (track.kind === 'video') preferH264(transceiver);
    }
    const client = new MedoozeWhip();
    await client.publish(peer, url);
    window.stop = () => client.stop();
    window.restart = () => client.restart();
  },

  async medoozeWhep(url) {
    const peer = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    peer.addTransceiver('audio');
    peer.addTransceiver('video');
    peer.ontrack = ({ track, streams }) => {
      if (track.kind === 'video') [document.querySelector('video').srcObject] = streams;
    };
    const client = new MedoozeWhep();
    await client.view(peer, url);
    window.stop = () => client.stop();
    window.restart = () => client.restart();
  },
};

/** @param {RTCRtpTransceiver} transceiver */
function preferH264(transceiver) {
  const { codecs } = RTCRtpSender.getCapabilities('video');
  const first = codecs.filter(({ mimeType }) => mimeType === 'video/H264');
  transceiver.setCodecPreferences([...first, ...codecs.filter((codec) => !first.includes(codec))]);
}

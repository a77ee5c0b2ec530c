/** What the tests find in pages, and what they put there. */

import type { AerialPlayer } from '../../web/js/player.js';
import type { WhepClient } from '../../web/js/whep.js';
import type { WhipClient } from '../../web/js/whip.js';

/** A page of Chromium under Playwright or of Firefox under Puppeteer. */
export interface AnyPage {
  evaluate<Result, Argument>(
    run: (argument: Argument) => Result | Promise<Result>,
    argument?: Argument,
  ): Promise<Result>;
}

/** When a picture was shown, as `requestVideoFrameCallback` tells. */
export interface Shown {
  now: number;
  presentedFrames: number;
  receiveTime: number;
  rtpTimestamp: number;
}

/** A viewer that counts its peer connections. */
export type CountingClient = WhepClient & { connections: number };

declare global {
  interface HTMLElementTagNameMap {
    'aerial-player': AerialPlayer;
  }

  interface RTCPeerConnection {
    /** Which of a page's relays it takes. */
    relay?: number;
  }

  interface HTMLVideoElement {
    /** Chromium only. */
    webkitAudioDecodedByteCount: number;
  }

  interface Window {
    /** codecs.test.js, slate.test.js */
    client: WhipClient;
    /** embed.js */
    decoded: () => Promise<number>;
    start: Record<string, (url: string) => Promise<void>>;
    restart: () => unknown;
    /** freezes.js */
    pictures: Shown[];
    /** hls.test.js */
    faults: string[];
    /** network.test.js */
    clients: CountingClient[];
    firstPeer: RTCPeerConnection;
    /** publish.test.js, index.test.js */
    microphone: MediaStreamTrack;
    notReloaded: boolean;
    /** pause.test.js */
    slower: () => void;
    peers: RTCPeerConnection[];
    /** package.test.js */
    told: string[];
    /** studio.test.js */
    locks: number;
    /** relay.js */
    relayTo: (index: number, port: number) => Promise<void>;
    /** pause.test.js, watch.test.js */
    states: string[];
  }
}

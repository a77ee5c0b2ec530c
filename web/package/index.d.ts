import type { AerialPlayer } from './types/player.js';

export { AerialPlayer } from './types/player.js';
export { WhepClient } from './types/whep.js';
export { WhipClient } from './types/whip.js';
export type { State, StateChange } from './types/client.js';
export type { Figures } from './types/stats.js';

declare global {
  interface HTMLElementTagNameMap {
    'aerial-player': AerialPlayer;
  }
}

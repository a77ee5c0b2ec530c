export { AerialPlayer } from './js/player.js';
export { WhepClient } from './js/whep.js';
export { WhipClient } from './js/whip.js';

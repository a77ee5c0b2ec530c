/** Version 1: what is exported here stays. */

export * from '../whep.js';

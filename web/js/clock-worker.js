/** A worker that wakes its page: browsers slow down the timers of pages in the background, but not those of workers. */

addEventListener('message', ({ data }) => setTimeout(() => postMessage(null), data));

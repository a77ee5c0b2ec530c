/**
 * Everything that can go wrong between a page and the server, as one typed error: what a program can
 * do about it (`kind`, `retryable`, `retryAfter`), and what to tell the user (`words`).
 */

import { has, t } from './words.js';

/**
 * @typedef {'aborted'|'network'|'timeout'|'blocked'|'lost'|'stalled'|'not-live'|'name-taken'|'unauthorized'
 *   |'forbidden'|'not-found'|'bad-offer'|'unsupported'|'too-large'|'busy'|'server'|'protocol'
 *   |'browser'} Kind
 */

/** @typedef {'whip'|'whep'} Role */

/**
 * RFC 9457 problem details, as the server sends them.
 * @typedef {{type?: string, title?: string, status?: number, detail?: string, error?: string}} Problem
 */

/** Kinds worth retrying. */
const RETRYABLE = new Set(['network', 'timeout', 'blocked', 'lost', 'stalled', 'not-live', 'busy', 'server']);

export class SessionError extends Error {
  name = 'SessionError';

  /**
   * @param {Kind} kind What happened.
   * @param {string} [message] Detail for the console.
   * @param {{status?: number, problem?: Problem, retryAfter?: number, cause?: unknown}} [more]
   */
  constructor(kind, message = kind, more = {}) {
    super(message, { cause: more.cause });
    /** @type {Kind} */
    this.kind = kind;
    /** HTTP status, 0 if there was none. */
    this.status = more.status ?? 0;
    /** @type {Problem|undefined} */
    this.problem = more.problem;
    /** Milliseconds the server asked us to wait, 0 if it did not say. */
    this.retryAfter = more.retryAfter ?? 0;
  }

  /** The server's own word for the refusal, which stays the same: the last part of its type. Empty without one. */
  get reason() {
    return /^urn:aerial:problem:([a-z-]+)$/.exec(this.problem?.type ?? '')?.[1] ?? '';
  }

  /** A sentence for the user. */
  get words() {
    const known = `problem-${this.reason}`;
    const words = t(has(known) ? known : `error-${this.kind}`);
    const detail = this.kind === 'unsupported' ? this.problem?.detail : undefined;
    return detail ? t('server-says', { words, detail: detail.replace(/\.?$/, '.') }) : words;
  }

  /** True if the same request may work later. */
  get retryable() {
    return RETRYABLE.has(this.kind);
  }

  /**
   * Any thrown value as a SessionError.
   * @param {unknown} thrown
   * @returns {SessionError}
   */
  static from(thrown) {
    if (thrown instanceof SessionError) return thrown;
    const { name, message } = thrown instanceof Error ? thrown : { name: '', message: String(thrown) };
    if (name === 'AbortError') return new SessionError('aborted', message, { cause: thrown });
    if (name === 'TimeoutError') return new SessionError('timeout', message, { cause: thrown });
    return new SessionError('browser', message, { cause: thrown });
  }

  /**
   * The error that a response other than 201 stands for.
   * @param {Response} response
   * @param {Role} role
   * @returns {Promise<SessionError>}
   */
  static async fromResponse(response, role) {
    const problem = await readProblem(response);
    const message = problem?.detail ?? problem?.title ?? `HTTP ${response.status}`;
    return new SessionError(kindOf(response.status, role), message, {
      status: response.status,
      problem,
      retryAfter: retryAfter(response.headers.get('Retry-After')),
    });
  }
}

/**
 * @param {number} status
 * @param {Role} role
 * @returns {Kind}
 */
function kindOf(status, role) {
  switch (status) {
    case 400:
      return 'bad-offer';
    case 401:
      return 'unauthorized';
    case 403:
      return 'forbidden';
    case 404:
      return 'not-found';
    case 408:
    case 504:
      return 'timeout';
    case 409:
      return role === 'whip' ? 'name-taken' : 'not-live';
    case 413:
      return 'too-large';
    case 422:
      return 'unsupported';
    case 429:
    case 503:
      return 'busy';
    case 502:
      return 'network';
    default:
      return status >= 500 ? 'server' : 'protocol';
  }
}

/**
 * @param {Response} response
 * @returns {Promise<Problem|undefined>}
 */
async function readProblem(response) {
  if (!/\bjson\b/.test(response.headers.get('Content-Type') ?? '')) return undefined;
  try {
    const problem = await response.json();
    return typeof problem === 'object' && problem !== null ? problem : undefined;
  } catch {
    return undefined; // a truncated body is no better than none; the status says enough
  }
}

/**
 * `Retry-After` (RFC 9110 §10.2.3: seconds or a date) in milliseconds.
 * @param {string|null} value
 * @returns {number}
 */
export function retryAfter(value) {
  if (!value) return 0;
  const seconds = Number(value);
  const ms = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(value) - Date.now();
  return ms > 0 ? Math.min(ms, 60_000) : 0;
}

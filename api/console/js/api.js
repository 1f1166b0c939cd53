// HTTP to the daemon. Every request has a deadline; what goes wrong is an ApiError with the words of the problem.
import { get } from './state.js';

const DEADLINE_MS = 15_000;

export class ApiError extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `HTTP ${status}`);
    this.status = status; // 0: no answer at all
    this.code = problem.code ?? '';
    this.title = problem.title ?? 'Something went wrong';
    this.retryAfterS = problem.retry_after_s ?? null;
  }

  get away() { return this.status === 0; }

  get missing() { return this.status === 404 || this.status === 501; }
}

let onUnauthorized = () => {};
export const whenUnauthorized = (handler) => { onUnauthorized = handler; };

export async function send(method, path, { body, accept = 'application/json', token, deadlineMs = DEADLINE_MS } = {}) {
  const mine = token === undefined;
  const bearer = mine ? get().session?.token : token;
  const headers = { Accept: accept };
  if (bearer) headers.Authorization = `Bearer ${bearer}`;
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  let response;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: 'no-store',
      credentials: 'omit',
      redirect: 'error',
      signal: AbortSignal.timeout(deadlineMs),
    });
  } catch (error) {
    const late = error.name === 'TimeoutError';
    throw new ApiError(0, { title: 'No answer', detail: late ? 'The daemon did not answer in time.' : 'The daemon cannot be reached.' });
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  const error = new ApiError(response.status, problem);
  // a request of a session that has been replaced meanwhile says nothing about the new one
  if (response.status === 401 && mine && bearer === get().session?.token) onUnauthorized(error);
  throw error;
}

export async function json(method, path, options) {
  const response = await send(method, path, options);
  return response.status === 204 ? null : response.json();
}

export const fetchJson = (path, options) => json('GET', path, options);

export const post = (path, body = {}) => json('POST', path, { body });

export const remove = (path) => json('DELETE', path);

/** One door to the server: cookie session, CSRF header, errors as values with the server's words. */
import type { Problem } from './types'

export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly problem: Problem,
  ) {
    super(problem.message)
  }
}

/** The server could not be reached at all. */
export class Unreachable extends Error {}

type Query = Record<string, string | number | boolean | null | undefined>

let onUnauthenticated: () => void = () => undefined

/** What to do when the session has ended; set once by the router. */
export function whenSignedOut(act: () => void): void {
  onUnauthenticated = act
}

export function address(path: string, query: Query = {}): string {
  const q = new URLSearchParams()
  for (const [k, v] of Object.entries(query)) if (v !== undefined && v !== null && v !== '') q.set(k, String(v))
  const text = q.toString()
  return `/api${path}${text ? `?${text}` : ''}`
}

async function send(url: string, init: RequestInit): Promise<Response> {
  let answer: Response
  try {
    answer = await fetch(url, { credentials: 'same-origin', ...init })
  } catch (cause) {
    if (init.signal?.aborted) throw cause
    throw new Unreachable(url)
  }
  if (answer.ok) return answer
  const error = new ApiError(answer.status, await problemOf(answer))
  if (answer.status === 401 && !url.startsWith('/api/login')) onUnauthenticated()
  throw error
}

async function problemOf(answer: Response): Promise<Problem> {
  try {
    const body: unknown = await answer.json()
    if (body && typeof body === 'object' && 'message' in body) return body as Problem
  } catch {
    // Not JSON: a proxy or a stopped server answered. The status is all there is to say.
  }
  return {
    code: `http_${answer.status}`,
    message: `服务器答复 ${answer.status}，没有说明原因`,
    message_en: `The server answered ${answer.status} without a reason`,
  }
}

const WRITE = { 'X-Mingjing': '1' }

async function json<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const headers = body === undefined ? WRITE : { ...WRITE, 'Content-Type': 'application/json' }
  const init: RequestInit = { method, headers }
  if (body !== undefined) init.body = JSON.stringify(body)
  if (signal) init.signal = signal
  const answer = await send(address(path), init)
  return (answer.status === 204 ? undefined : await answer.json().catch(() => undefined)) as T
}

export async function get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
  const answer = await send(address(path, query), signal ? { signal } : {})
  return (await answer.json()) as T
}

export const post = <T>(path: string, body?: unknown) => json<T>('POST', path, body)
export const put = <T>(path: string, body?: unknown) => json<T>('PUT', path, body)
export const remove = (path: string) => json<void>('DELETE', path)

/** Exchange session descriptions: offer out, answer and address of the session back. */
export async function exchange(path: string, offer: string, signal?: AbortSignal): Promise<{ answer: string; session: string | null }> {
  const init: RequestInit = { method: 'POST', headers: { ...WRITE, 'Content-Type': 'application/sdp' }, body: offer }
  if (signal) init.signal = signal
  const response = await send(address(path), init)
  return { answer: await response.text(), session: response.headers.get('Location') }
}

/** End a live session; it must also leave when the page is closed. */
export function endSession(location: string): void {
  void fetch(location, { method: 'DELETE', headers: WRITE, credentials: 'same-origin', keepalive: true }).catch(() => undefined)
}

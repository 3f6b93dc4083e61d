/**
 * One WebSocket for the whole page. Messages tell that something changed; the page then asks for it.
 * After a break, or when a number is missing, everybody asks again.
 */
import { computed, onScopeDispose, readonly, ref } from 'vue'

import type { Message } from '../api/types'

export type LiveKind = Message['kind']

const STALE_MS = 10_000
const BACKOFF_FROM_MS = 500
const BACKOFF_TO_MS = 15_000

interface Listener {
  kinds: readonly LiveKind[]
  act: (m: Message) => void
  resync: () => void
}

const listeners = new Set<Listener>()
const connected = ref(false)
const everConnected = ref(false)
/** When the server was last heard, by this machine's clock. */
const heard = ref(0)
/** The server's own time of the last message, shown to people. */
const serverTime = ref(0)
const clock = ref(Date.now())
const caught = ref(0)

let socket: WebSocket | null = null
let attempt = 0
let expected = -1
let retry = 0
let ticker = 0

const stale = computed(() => everConnected.value && (!connected.value || clock.value - heard.value > STALE_MS))

function connect(): void {
  if (socket || listeners.size === 0) return
  const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:'
  socket = new WebSocket(`${scheme}//${location.host}/api/live/events`)
  socket.onopen = () => {
    connected.value = true
    heard.value = Date.now()
    expected = -1
    if (everConnected.value) resync()
    everConnected.value = true
    attempt = 0
  }
  socket.onmessage = (event: MessageEvent<string>) => receive(JSON.parse(event.data) as Message)
  socket.onclose = lost
}

function lost(): void {
  socket = null
  connected.value = false
  if (listeners.size === 0) return
  const wait = Math.min(BACKOFF_TO_MS, BACKOFF_FROM_MS * 2 ** attempt++)
  // Spread out, so that a restarted server is not met by everybody at once.
  retry = window.setTimeout(connect, wait * (0.5 + Math.random() / 2))
}

function receive(m: Message): void {
  heard.value = Date.now()
  serverTime.value = m.at_ms
  if (expected >= 0 && m.seq !== expected) resync()
  expected = m.seq + 1
  for (const l of listeners) if (l.kinds.includes(m.kind)) l.act(m)
}

function resync(): void {
  caught.value++
  for (const l of listeners) l.resync()
}

function start(): void {
  if (!ticker) ticker = window.setInterval(() => (clock.value = Date.now()), 1000)
  connect()
}

/** Stop everything: the user signed out. */
export function stopLive(): void {
  window.clearTimeout(retry)
  window.clearInterval(ticker)
  ticker = 0
  const open = socket
  socket = null
  if (open) {
    open.onclose = null
    open.close()
  }
  connected.value = false
  everConnected.value = false
}

/** State of the connection, for the banner and the operator's strip. */
export function useLiveState() {
  return { connected: readonly(connected), stale, serverTime: readonly(serverTime), caught: readonly(caught), now: readonly(clock) }
}

/** Call `act` for messages of these kinds, and `resync` when some may have been missed. */
export function useLive(kinds: readonly LiveKind[], act: (m: Message) => void, resync: () => void): void {
  const own: Listener = { kinds, act, resync }
  listeners.add(own)
  start()
  onScopeDispose(() => listeners.delete(own))
}

/** Run at most once per `ms`, the last call always. For refetches after bursts of messages. */
export function settled(act: () => void, ms = 250): () => void {
  let timer = 0
  return () => {
    window.clearTimeout(timer)
    timer = window.setTimeout(act, ms)
  }
}

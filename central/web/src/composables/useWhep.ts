/** Watch one live feed by WHEP: receive only, lowest delay, reconnect with growing pauses. */
import { onScopeDispose, ref, shallowRef, watch } from 'vue'

import { endSession, exchange } from '../api/client'
import { sayError } from './useApi'

export type LiveState = 'idle' | 'connecting' | 'live' | 'frozen' | 'waiting'

const GATHER_MS = 500
const BACKOFF_FROM_MS = 1000
const BACKOFF_TO_MS = 20_000
const WATCH_MS = 1000
/** A picture that stands still for so long is no longer called live. */
const FROZEN_MS = 3000
/** So long, and the connection is made anew. */
const DEAD_MS = 10_000

/** Pictures decoded so far; the connection may look sound for long after the last one. */
async function framesOf(pc: RTCPeerConnection): Promise<number> {
  let frames = 0
  for (const row of (await pc.getStats()).values() as Iterable<{ type: string; framesDecoded?: number }>) {
    if (row.type === 'inbound-rtp') frames += row.framesDecoded ?? 0
  }
  return frames
}

/** Wait until the addresses are known, but never long: on a LAN the first one is the right one. */
function gathered(pc: RTCPeerConnection): Promise<void> {
  if (pc.iceGatheringState === 'complete') return Promise.resolve()
  return new Promise((resolve) => {
    const timer = window.setTimeout(resolve, GATHER_MS)
    pc.addEventListener('icegatheringstatechange', () => {
      if (pc.iceGatheringState !== 'complete') return
      window.clearTimeout(timer)
      resolve()
    })
  })
}

function lowDelay(receiver: RTCRtpReceiver): void {
  // Newer cores have the target, older ones the hint in seconds.
  const hinted: { playoutDelayHint?: number } = receiver as object
  if ('jitterBufferTarget' in receiver) receiver.jitterBufferTarget = 0
  else hinted.playoutDelayHint = 0
}

export function useWhep(stream: () => string, wanted: () => boolean) {
  const state = ref<LiveState>('idle')
  const media = shallowRef<MediaStream | null>(null)
  const error = ref('')
  const retryIn = ref(0)
  /** When a new picture was last seen, ms. */
  const lastFrame = ref(0)
  let pc: RTCPeerConnection | null = null
  let session: string | null = null
  let timer = 0
  let watcher = 0
  let attempt = 0
  let turn = 0

  async function connect(): Promise<void> {
    const own = ++turn
    close()
    state.value = 'connecting'
    const peer = new RTCPeerConnection()
    pc = peer
    const incoming = new MediaStream()
    for (const kind of ['video', 'audio']) lowDelay(peer.addTransceiver(kind, { direction: 'recvonly' }).receiver)
    peer.ontrack = (e) => {
      incoming.addTrack(e.track)
      media.value = incoming
    }
    peer.onconnectionstatechange = () => {
      if (own !== turn) return
      if (peer.connectionState === 'connected') {
        state.value = 'live'
        attempt = 0
        error.value = ''
        guard(peer, own)
      } else if (['failed', 'disconnected', 'closed'].includes(peer.connectionState)) later()
    }
    try {
      await peer.setLocalDescription(await peer.createOffer())
      await gathered(peer)
      const got = await exchange(`/live/${encodeURIComponent(stream())}/whep`, peer.localDescription!.sdp)
      if (own !== turn) {
        if (got.session) endSession(got.session)
        return
      }
      session = got.session
      await peer.setRemoteDescription({ type: 'answer', sdp: got.answer })
    } catch (cause) {
      if (own !== turn) return
      error.value = sayError(cause)
      later()
    }
  }

  /** See that pictures keep coming. */
  function guard(peer: RTCPeerConnection, own: number): void {
    let known = -1
    lastFrame.value = Date.now()
    window.clearInterval(watcher)
    watcher = window.setInterval(async () => {
      const frames = await framesOf(peer).catch(() => known)
      if (own !== turn) return
      const now = Date.now()
      if (frames !== known) lastFrame.value = now
      known = frames
      const still = now - lastFrame.value
      if (still >= DEAD_MS) later()
      else state.value = still >= FROZEN_MS ? 'frozen' : 'live'
    }, WATCH_MS)
  }

  function later(): void {
    turn++
    close()
    const wait = Math.min(BACKOFF_TO_MS, BACKOFF_FROM_MS * 2 ** attempt++)
    retryIn.value = Math.ceil(wait / 1000)
    state.value = 'waiting'
    timer = window.setTimeout(() => void connect(), wait)
  }

  function close(): void {
    window.clearTimeout(timer)
    window.clearInterval(watcher)
    if (session) endSession(session)
    session = null
    pc?.close()
    pc = null
    media.value = null
  }

  function stop(): void {
    turn++
    close()
    state.value = 'idle'
  }

  watch([stream, wanted], () => (wanted() ? void connect() : stop()), { immediate: true })
  window.addEventListener('pagehide', stop)
  onScopeDispose(() => {
    window.removeEventListener('pagehide', stop)
    stop()
  })
  return { state, media, error, retryIn, lastFrame }
}

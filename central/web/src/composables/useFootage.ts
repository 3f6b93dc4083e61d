/**
 * One player that follows the master clock. It knows only wall time from outside; media time is derived
 * from the PROGRAM-DATE-TIME of its playlist, which it asks for in half-hour blocks.
 */
import type Hls from 'hls.js'
import { onScopeDispose, ref, watch, type Ref } from 'vue'

import type { Span } from '../lib/gaps'
import { correct, playlistWindow, toMedia, toWall, type Piece } from '../lib/media'
import type { Playhead } from './usePlayhead'

export type FootageState = 'loading' | 'ready' | 'hole' | 'buffering' | 'failed'

const FOLLOW_MS = 100
const STALL_MS = 1000
/** A playlist that ended at "now" is asked for again when the clock passes its end, not more often than this. */
const REFRESH_MS = 4000
/** Half a frame at 25 frames a second: nearer than this a paused picture is the right one. */
const SAME_FRAME_S = 0.02
/** Lands inside the wanted frame and not on its edge. */
const INSIDE_S = 0.001

const SETTINGS = {
  maxBufferLength: 12,
  maxMaxBufferLength: 24,
  backBufferLength: 20,
  maxBufferHole: 0.1,
  autoStartLoad: false,
  enableWorker: false,
}

interface Options {
  video: Ref<HTMLVideoElement | null>
  address: (window: Span) => string
  allowed: () => Span
  playhead: Playhead
}

export function useFootage({ video, address, allowed, playhead }: Options) {
  const state = ref<FootageState>('loading')
  /** Wall time of the frame on screen. */
  const shown = ref<number | null>(null)
  const error = ref('')
  let hls: Hls | null = null
  let pieces: Piece[] = []
  let loadedWindow: Span | null = null
  let loadedAt = 0
  let stalledSince = 0
  let turn = 0
  let gone = false

  async function load(window: Span): Promise<void> {
    const own = ++turn
    loadedWindow = window
    loadedAt = performance.now()
    pieces = []
    state.value = 'loading'
    error.value = ''
    const { default: Player, Events, ErrorTypes } = await import('hls.js/light')
    if (own !== turn || gone || !video.value) return
    hls?.destroy()
    const player = new Player(SETTINGS)
    hls = player
    player.on(Events.LEVEL_LOADED, (_, data) => {
      const first = pieces.length === 0
      pieces = piecesOf(data.details.fragments)
      if (first) player.startLoad(toMedia(pieces, playhead.t.value) ?? 0)
      follow()
    })
    player.on(Events.LEVEL_PTS_UPDATED, (_, data) => (pieces = piecesOf(data.details.fragments)))
    player.on(Events.ERROR, (_, data) => {
      if (!data.fatal) return
      const status = data.response?.code
      if (status === 404) return empty()
      if (data.type === ErrorTypes.MEDIA_ERROR && own === turn) return player.recoverMediaError()
      fail(status ? String(status) : data.details)
    })
    player.attachMedia(video.value)
    player.loadSource(address(window))
  }

  /** The server has nothing here: a hole as long as the window. */
  function empty(): void {
    pieces = []
    state.value = 'hole'
  }

  function fail(why: string): void {
    error.value = why
    state.value = 'failed'
    hls?.destroy()
    hls = null
  }

  function ensure(): boolean {
    const wish = playlistWindow(playhead.t.value, allowed())
    const same = loadedWindow && wish.from_ms === loadedWindow.from_ms && wish.to_ms === loadedWindow.to_ms
    if (!same || (pastEnd() && performance.now() - loadedAt > REFRESH_MS)) {
      if (wish.to_ms > wish.from_ms) void load(wish)
      return false
    }
    return state.value !== 'failed'
  }

  /** A running recording grows beyond the playlist that was fetched. */
  function pastEnd(): boolean {
    const last = pieces[pieces.length - 1]
    if (!last) return state.value === 'hole' && playhead.playing.value
    const end = last.wall + last.length * 1000
    return playhead.t.value >= end && playhead.t.value < allowed().to_ms && playhead.playing.value
  }

  function follow(): void {
    const v = video.value
    if (!v || gone || !ensure() || state.value === 'loading' && pieces.length === 0) return
    const target = toMedia(pieces, playhead.t.value)
    if (target === null) {
      v.pause()
      stalledSince = 0
      state.value = 'hole'
      return
    }
    if (playhead.playing.value) run(v, target)
    else rest(v, target)
    judge(v)
  }

  function run(v: HTMLVideoElement, target: number): void {
    if (v.seeking) return
    const c = correct(target, v.currentTime, playhead.rate.value)
    if (c.seek) v.currentTime = target + INSIDE_S
    if (v.playbackRate !== c.rate) v.playbackRate = c.rate
    // While the clock is held for a slower player, this one waits too.
    if (playhead.held.value && v.readyState >= HTMLMediaElement.HAVE_FUTURE_DATA) v.pause()
    else if (v.paused) void v.play().catch(() => undefined)
  }

  function rest(v: HTMLVideoElement, target: number): void {
    if (!v.paused) v.pause()
    if (!v.seeking && Math.abs(v.currentTime - target) > SAME_FRAME_S) v.currentTime = target + INSIDE_S
  }

  function judge(v: HTMLVideoElement): void {
    const enough = playhead.playing.value && !playhead.held.value ? HTMLMediaElement.HAVE_FUTURE_DATA : HTMLMediaElement.HAVE_CURRENT_DATA
    if (v.readyState >= enough && !v.seeking) {
      stalledSince = 0
      state.value = 'ready'
      return
    }
    const now = performance.now()
    stalledSince ||= now
    if (now - stalledSince > STALL_MS) state.value = 'buffering'
    else if (state.value === 'hole') state.value = 'ready'
  }

  function watchFrames(v: HTMLVideoElement): void {
    if (!('requestVideoFrameCallback' in v)) return
    const onFrame = (_: number, frame: VideoFrameCallbackMetadata) => {
      if (gone || video.value !== v) return
      shown.value = toWall(pieces, frame.mediaTime)
      v.requestVideoFrameCallback(onFrame)
    }
    v.requestVideoFrameCallback(onFrame)
  }

  const timer = window.setInterval(follow, FOLLOW_MS)
  watch([playhead.jumps, playhead.playing, playhead.held, playhead.rate], follow)
  watch(
    video,
    (v) => {
      if (!v) return
      watchFrames(v)
      v.addEventListener('seeked', follow)
      follow()
    },
    { immediate: true },
  )
  onScopeDispose(() => {
    gone = true
    turn++
    window.clearInterval(timer)
    hls?.destroy()
  })

  return {
    state,
    shown,
    error,
    retry: () => {
      loadedWindow = null
      follow()
    },
  }
}

interface HlsPiece {
  programDateTime: number | null
  start: number
  duration: number
}

function piecesOf(fragments: readonly HlsPiece[]): Piece[] {
  const out: Piece[] = []
  for (const f of fragments) {
    if (f.programDateTime !== null) out.push({ wall: f.programDateTime, media: f.start, length: f.duration })
  }
  return out
}

/** The master clock of a replay: integer ms of wall time. Players and lanes follow; nothing else keeps time. */
import { onScopeDispose, ref } from 'vue'

export const RATES = [0.25, 0.5, 1, 2, 4, 8, 16]

/** The screen stamps frames with its own clock; it is only used for differences. */
const MOST_PER_FRAME_MS = 250

export function usePlayhead(start: number, bounds: () => [number, number]) {
  const t = ref(Math.round(start))
  const playing = ref(false)
  const rate = ref(1)
  /** Players wait for data: the clock stands, the wish to play stays. */
  const held = ref(false)
  /** Grows with each jump, so that players follow at once even when they are near. */
  const jumps = ref(0)
  let frame = 0
  let last = 0
  let rest = 0

  function tick(now: number): void {
    // A tab in the background gets no frames; the picture must not be overtaken when it returns.
    const passed = Math.min(now - last, MOST_PER_FRAME_MS)
    last = now
    if (!held.value) advance(passed * rate.value)
    if (playing.value) frame = requestAnimationFrame(tick)
  }

  function advance(by: number): void {
    const exact = t.value + rest + by
    const whole = Math.floor(exact)
    rest = exact - whole
    const end = bounds()[1]
    t.value = Math.min(whole, end)
    if (t.value >= end) playing.value = false
  }

  function play(): void {
    if (playing.value || t.value >= bounds()[1]) return
    playing.value = true
    last = performance.now()
    frame = requestAnimationFrame(tick)
  }

  function pause(): void {
    playing.value = false
    cancelAnimationFrame(frame)
  }

  function seek(to: number): void {
    const [from, end] = bounds()
    t.value = Math.round(Math.min(Math.max(to, from), end))
    rest = 0
    jumps.value++
  }

  function faster(by: 1 | -1): void {
    const i = RATES.indexOf(rate.value) + by
    rate.value = RATES[Math.min(RATES.length - 1, Math.max(0, i))]!
  }

  onScopeDispose(() => cancelAnimationFrame(frame))
  return {
    t,
    playing,
    rate,
    held,
    jumps,
    play,
    pause,
    seek,
    faster,
    toggle: () => (playing.value ? pause() : play()),
    nudge: (by: number) => seek(t.value + by),
  }
}

export type Playhead = ReturnType<typeof usePlayhead>

/** Which stretch of time a case page shows. */
import type { Case, Step } from '../api/types'

export type Range = [number, number]

const PRE_MS = 3 * 60_000
const POST_MS = 4 * 60_000
const LEAST_MS = 15_000
/** A short step keeps most of the width: margins grow with its length up to the full ones. */
const SHARE = 0.8
export const STEP_LEAD_MS = 10_000
const EDGE_MS = 60_000

/** The whole case: from a little before its first step to a little after the last, or to now. */
export function caseBounds(c: Case, now: number): Range {
  const started = c.steps.filter((s) => s.started_ms !== null)
  const from = Math.min(c.opened_ms, ...started.map((s) => s.started_ms!))
  const running = started.some((s) => s.ended_ms === null)
  const ends = started.map((s) => s.ended_ms ?? now)
  const to = running || ends.length === 0 ? now : Math.max(...ends)
  return [from - EDGE_MS, Math.max(to, from + EDGE_MS) + EDGE_MS]
}

/** A step with time before and after it, inside the bounds. */
export function stepRange(s: Step, now: number, bounds: Range): Range {
  const from = s.started_ms ?? now
  const to = s.ended_ms ?? now
  const margin = (most: number) => Math.min(most, Math.max(LEAST_MS, (to - from) * SHARE))
  return [Math.max(bounds[0], from - margin(PRE_MS)), Math.min(bounds[1], to + margin(POST_MS))]
}

/** The step a case page opens with: the running one, else the last that has begun. */
export function firstStep(c: Case): number {
  const started = c.steps.filter((s) => s.started_ms !== null)
  return (started.find((s) => s.state === 'running') ?? started[started.length - 1] ?? c.steps[0])?.seq ?? 1
}

/** Does `outer` hold all of `inner`? */
export const holds = (outer: Range | null, inner: Range) => outer !== null && outer[0] <= inner[0] && outer[1] >= inner[1]

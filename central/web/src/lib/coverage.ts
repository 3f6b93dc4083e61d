/** What the coverage card says about a step, as figures; words come later. */
import type { GapOut, Step, StepLink, StepLinkStream } from '../api/types'
import { clip, complete, total, type Span } from './gaps'

export interface Lack {
  name: string
  ms: number
}

export interface Statement {
  /** Length of the step so far, ms. */
  length: number
  streams: number
  lacks: Lack[]
  /** Of the other streams, how many hold every hole of the lacking ones; null without holes. */
  others: { of: number; whole: number } | null
}

/**
 * The figure of a step: the mean over its cameras, floored, so that it is 100 % only when no camera
 * lacks anything. Without cameras it is what the gateway stated.
 */
export function share(link: StepLink): number {
  const all = link.streams.map((s) => s.covered_permille)
  return all.length ? Math.floor(all.reduce((a, b) => a + b, 0) / all.length) : link.covered_permille
}

const clipped = (gaps: readonly GapOut[], range: Span): Span[] =>
  gaps.map((g) => clip(g, range)).filter((g): g is Span => g !== null)

/** What is missing of the step's own interval; rolls before and after are not counted. */
export function statement(step: Step, streams: readonly StepLinkStream[], now: number): Statement {
  const range: Span = { from_ms: step.started_ms ?? now, to_ms: step.ended_ms ?? now }
  const lacking = streams
    .map((s) => ({ stream: s, holes: clipped(s.gaps, range) }))
    .filter((s) => s.holes.length > 0)
  const lacks = lacking.map((s) => ({ name: s.stream.device_name, ms: total(s.holes) }))
  return { length: range.to_ms - range.from_ms, streams: streams.length, lacks, others: othersOf(lacking, streams) }
}

function othersOf(
  lacking: readonly { stream: StepLinkStream; holes: Span[] }[],
  streams: readonly StepLinkStream[],
): Statement['others'] {
  if (lacking.length === 0) return null
  const worst = lacking.reduce((a, b) => (total(b.holes) > total(a.holes) ? b : a))
  const rest = streams.filter((s) => s !== worst.stream)
  const whole = Math.min(...worst.holes.map((h) => complete(rest, h)), rest.length)
  return { of: rest.length, whole }
}

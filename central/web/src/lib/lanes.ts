/** Geometry of the lane timeline: scale, ticks, labels that do not overlap. */
export interface Scale {
  from: number
  to: number
  width: number
}

const STEPS = [
  100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000, 1_800_000,
  3_600_000, 7_200_000, 14_400_000, 21_600_000, 43_200_000, 86_400_000, 172_800_000, 604_800_000,
]
const DAY = 86_400_000
const ZONE = 8 * 3_600_000

/** Pixel of an instant. */
export const toX = (s: Scale, at: number) => ((at - s.from) / (s.to - s.from)) * s.width

/** Instant of a pixel, integer ms. */
export const toTime = (s: Scale, x: number) => Math.round(s.from + (x / s.width) * (s.to - s.from))

/** Tick distance so that labels of `space` px fit. */
export function tickStep(s: Scale, space: number): number {
  const want = ((s.to - s.from) / Math.max(1, s.width)) * space
  return STEPS.find((t) => t >= want) ?? STEPS[STEPS.length - 1]!
}

/** Tick instants, on round local times. */
export function ticks(s: Scale, space: number): number[] {
  const step = tickStep(s, space)
  // Steps of a day and more start at local midnight.
  const zone = step >= DAY / 2 ? ZONE : 0
  const out: number[] = []
  for (let t = Math.ceil((s.from + zone) / step) * step - zone; t <= s.to; t += step) out.push(t)
  return out
}

/** Rough width of a label: a CJK character is a full em, others about half. */
export function textWidth(text: string, size: number): number {
  let em = 0
  for (const c of text) em += c.charCodeAt(0) > 0x2e80 ? 1 : 0.56
  return em * size
}

/** Which of the labels, each starting right of its mark, may be printed without touching the next mark. */
export function fitting(marks: readonly { x: number; text: string }[], size: number, lead: number, end: number): boolean[] {
  return marks.map((m, i) => {
    const next = marks[i + 1]?.x ?? end
    return m.x + lead + textWidth(m.text, size) <= next - 4
  })
}

/** Zoom around an instant, inside bounds, not closer than `least` ms. */
export function zoom(
  range: [number, number],
  at: number,
  factor: number,
  bounds: [number, number],
  least = 1000,
): [number, number] {
  const wide = Math.max(least, (range[1] - range[0]) * factor)
  const share = Math.min(1, Math.max(0, (at - range[0]) / (range[1] - range[0])))
  return within([at - wide * share, at + wide * (1 - share)], bounds)
}

/** Move a range inside bounds, keeping its length where it fits. */
export function within(range: [number, number], bounds: [number, number]): [number, number] {
  const wide = Math.min(range[1] - range[0], bounds[1] - bounds[0])
  const from = Math.min(Math.max(range[0], bounds[0]), bounds[1] - wide)
  return [Math.round(from), Math.round(from + wide)]
}

/** Height of a lane and of the drawing inside it, px. */
export const LANE_H = 24
export const INNER_TOP = 4
export const INNER_H = 16
export const AXIS_H = 34
/** A gap is never thinner, or it would be rounded away. */
export const LEAST_GAP_PX = 3

export interface Box {
  x: number
  width: number
}

/** Pixels of an interval, cut to the visible range; null when it lies outside. */
export function boxOf(s: Scale, from: number, to: number | null, least = 0): Box | null {
  const end = Math.min(to ?? s.to, s.to)
  const start = Math.max(from, s.from)
  if (end < start || from > s.to || (to !== null && to < s.from)) return null
  const x = toX(s, start)
  return { x, width: Math.max(least, toX(s, end) - x) }
}

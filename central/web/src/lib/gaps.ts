/** Interval arithmetic over footage. All intervals are half-open, integer ms of wall time. */
export interface Span {
  from_ms: number
  to_ms: number
}

export interface OpenSpan {
  from_ms: number
  to_ms: number | null
}

/** The part of `s` inside `range`, or null. An open end lasts to the end of the range. */
export function clip(s: OpenSpan, range: Span): Span | null {
  const from = Math.max(s.from_ms, range.from_ms)
  const to = Math.min(s.to_ms ?? range.to_ms, range.to_ms)
  return to > from ? { from_ms: from, to_ms: to } : null
}

/** Sorted, without overlaps; touching intervals become one. */
export function merge(spans: readonly Span[]): Span[] {
  const out: Span[] = []
  for (const s of [...spans].sort((a, b) => a.from_ms - b.from_ms)) {
    const last = out[out.length - 1]
    if (last && s.from_ms <= last.to_ms) last.to_ms = Math.max(last.to_ms, s.to_ms)
    else out.push({ ...s })
  }
  return out
}

/** Total length. Overlaps count once. */
export function total(spans: readonly Span[]): number {
  return merge(spans).reduce((sum, s) => sum + s.to_ms - s.from_ms, 0)
}

/** What of `range` none of `spans` covers. */
export function holes(spans: readonly Span[], range: Span): Span[] {
  const out: Span[] = []
  let at = range.from_ms
  for (const s of merge(spans)) {
    if (s.to_ms <= at) continue
    if (s.from_ms >= range.to_ms) break
    if (s.from_ms > at) out.push({ from_ms: at, to_ms: s.from_ms })
    at = s.to_ms
  }
  if (at < range.to_ms) out.push({ from_ms: at, to_ms: range.to_ms })
  return out
}

/** The gap that holds `at`, if any. */
export function gapAt<G extends OpenSpan>(gaps: readonly G[], at: number): G | undefined {
  return gaps.find((g) => at >= g.from_ms && (g.to_ms === null || at < g.to_ms))
}

/** True when `at` lies in one of the recorded intervals. */
export function covers(spans: readonly Span[], at: number): boolean {
  return spans.some((s) => at >= s.from_ms && at < s.to_ms)
}

/** `97.7 %` from thousandths. The figure is floored by the server and is never rounded up here. */
export function percent(permille: number): string {
  return permille >= 1000 ? '100 %' : `${(Math.floor(permille) / 10).toFixed(1)} %`
}

/** How many of the other streams hold the whole of `gap`. */
export function complete(others: readonly { gaps: readonly OpenSpan[] }[], gap: Span): number {
  return others.filter((o) => !o.gaps.some((g) => clip(g, gap) !== null)).length
}

/** The next instant after (or before) `at`, when landing `lead` ms early. */
export function jump(stops: readonly number[], at: number, dir: 1 | -1, lead = 0): number | null {
  const landings = stops.map((s) => s - lead).sort((a, b) => a - b)
  // A little slack, so that the key does not stick to the stop one stands on.
  const found =
    dir > 0 ? landings.find((s) => s > at + 200) : landings.reverse().find((s) => s < at - 500)
  return found ?? null
}

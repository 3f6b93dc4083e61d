/** Everything that happened on a timeline, as lines of text in order of time. */
import type { CaseTimeline, PunchMark, Step } from '../api/types'
import { lang, t, word } from '../i18n'
import { rangeText } from './time'

export type LineKind = 'step' | 'operation' | 'punch' | 'presence' | 'gap'

export interface Line {
  at: number
  kind: LineKind
  text: string
}

/** How somebody punched: in by finger. */
export const punchHow = (p: PunchMark) => t('timeline.punchHow', { verify: word('verify', p.verify), direction: word('direction', p.direction) })

const joined = (...parts: (string | null | undefined)[]) => parts.filter(Boolean).join(t('app.sep'))

function punchText(p: PunchMark): string {
  return joined(p.person_name || t('app.none'), punchHow(p), p.device)
}

/** Lines of the steps that have begun and of what the timeline holds. */
export function lines(timeline: CaseTimeline | null, steps: readonly Step[]): Line[] {
  const out: Line[] = []
  for (const s of steps) {
    if (s.started_ms !== null) out.push({ at: s.started_ms, kind: 'step', text: `${s.seq} ${s.name} ${rangeText(s.started_ms, s.ended_ms, lang.value)}` })
  }
  for (const o of timeline?.operations ?? []) out.push({ at: o.at_ms, kind: 'operation', text: joined(o.text, o.person_name) })
  for (const p of timeline?.punches ?? []) out.push({ at: p.at_ms, kind: 'punch', text: punchText(p) })
  for (const p of timeline?.presence ?? []) out.push({ at: p.from_ms, kind: 'presence', text: `${word('presence', p.state)} ${rangeText(p.from_ms, p.to_ms, lang.value)}` })
  timeline?.streams.forEach((s, i) => {
    const name = `${t('timeline.lane.footage')}${i + 1} ${s.name}`
    for (const g of s.gaps) out.push({ at: g.from_ms, kind: 'gap', text: t('timeline.gapSay', { name, range: rangeText(g.from_ms, g.to_ms, lang.value), cause: word('cause', g.cause) }) })
  })
  return out.sort((a, b) => a.at - b.at)
}

const NAMES = {
  step: 'timeline.lane.steps',
  operation: 'timeline.lane.operations',
  punch: 'timeline.lane.punches',
  presence: 'timeline.lane.presence',
  gap: 'timeline.legend.gap',
} as const

export const kindName = (kind: LineKind) => t(NAMES[kind])

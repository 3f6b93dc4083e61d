/** Sentences about a limit. */
import type { Due } from '../api/types'
import { lang, t, word } from '../i18n'
import { dateText } from './time'

/** The date of a limit; with the year when it is not this one. */
export const dueDate = (due: Due, year: number) => dateText(due.due_date, lang.value, year)

/** `还剩 8 个工作日` or `已超 2 个工作日`, in the clock's own unit. */
export function leftText(due: Due): string {
  const calendar = due.unit === 'calendar_day'
  if (due.left >= 0) return t(calendar ? 'clock.leftCal' : 'clock.left', { n: due.left })
  return t(calendar ? 'clock.overCal' : 'clock.over', { n: -due.left })
}

export function budgetText(due: Due): string {
  return t(due.unit === 'calendar_day' ? 'clock.daysCal' : 'clock.days', { n: due.budget })
}

export function kindText(due: Due): string {
  return t(due.kind === 'statutory' ? 'clock.statutoryLong' : due.kind === 'promised' ? 'clock.promisedLong' : 'clock.stepLong')
}

export const stateText = (due: Due) => word('clock', due.state)

/** The clock that says the most: promised before statutory before a step's. */
export function leading(clocks: readonly Due[]): Due | null {
  const rank = { promised: 0, statutory: 1, step: 2 }
  return [...clocks].sort((a, b) => rank[a.kind] - rank[b.kind])[0] ?? null
}

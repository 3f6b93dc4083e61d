/** Drawing rules of the clock bar and of the day grid. The server counts; this only arranges. */
import type { DayCell } from '../api/types'

export type CellKind = 'used' | 'today' | 'left' | 'suspended' | 'over'

export interface Cell {
  date: string
  kind: CellKind
  provisional: boolean
  /** A wider gap before it: the first cell of a week. */
  week: boolean
  /** The count to print inside, only on the milestones. */
  count: number | null
  promised: boolean
  statutory: boolean
}

export interface Posts {
  promised: string | null
  statutory: string | null
}

const weekOf = (date: string) => Math.floor((Date.parse(`${date}T00:00:00Z`) / 86_400_000 + 3) / 7)

/**
 * One cell per day that counts or was suspended; days off are not drawn.
 *
 * "used" is spent time, "over" lies past the promise and before the statutory end.
 */
export function clockCells(days: readonly DayCell[], posts: Posts): Cell[] {
  const out: Cell[] = []
  let week = -1
  for (const d of days) {
    if (d.count === null && d.kind !== 'suspended') continue
    const own = weekOf(d.date)
    out.push({
      date: d.date,
      kind: kindOf(d, posts),
      provisional: d.provisional,
      week: week !== -1 && own !== week,
      count: d.date === posts.promised || d.date === posts.statutory ? d.count : null,
      promised: d.date === posts.promised,
      statutory: d.date === posts.statutory,
    })
    week = own
  }
  return out
}

function kindOf(d: DayCell, posts: Posts): CellKind {
  if (d.kind === 'suspended') return 'suspended'
  if (d.today) return 'today'
  if (d.past) return 'used'
  return posts.promised !== null && d.date > posts.promised ? 'over' : 'left'
}

/** Weeks from Monday to Sunday; null fills the days before the first and after the last. */
export function weeks(days: readonly DayCell[]): (DayCell | null)[][] {
  const first = days[0]
  if (!first) return []
  const lead = (new Date(`${first.date}T00:00:00Z`).getUTCDay() + 6) % 7
  const cells: (DayCell | null)[] = [...Array<null>(lead).fill(null), ...days]
  while (cells.length % 7) cells.push(null)
  return Array.from({ length: cells.length / 7 }, (_, i) => cells.slice(i * 7, i * 7 + 7))
}

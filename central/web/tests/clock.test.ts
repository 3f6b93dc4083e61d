import { describe, expect, it } from 'vitest'

import type { DayCell } from '../src/api/types'
import { clockCells, weeks } from '../src/lib/clock'

function day(date: string, kind: DayCell['kind'], count: number | null, more: Partial<DayCell> = {}): DayCell {
  return { date, kind, name: '', count, past: false, today: false, provisional: false, ...more }
}

const DAYS: DayCell[] = [
  day('2026-09-24', 'start', null, { past: true }),
  day('2026-09-25', 'holiday', null, { past: true, name: '中秋' }),
  day('2026-09-26', 'weekend', null, { past: true }),
  day('2026-09-27', 'weekend', null, { past: true }),
  day('2026-09-28', 'working', 1, { past: true }),
  day('2026-09-29', 'suspended', null, { past: true }),
  day('2026-09-30', 'working', 2, { today: true }),
  day('2026-10-10', 'makeup', 3),
  day('2026-10-12', 'working', 4),
  day('2026-10-13', 'working', 5, { provisional: true }),
]

describe('the clock bar', () => {
  const cells = clockCells(DAYS, { promised: '2026-10-10', statutory: '2026-10-13' })

  it('has a cell for each day that counts or was suspended, and for no other', () => {
    expect(cells.map((c) => c.date)).toEqual(['2026-09-28', '2026-09-29', '2026-09-30', '2026-10-10', '2026-10-12', '2026-10-13'])
  })

  it('draws used, suspended, today, left and past the promise', () => {
    expect(cells.map((c) => c.kind)).toEqual(['used', 'suspended', 'today', 'left', 'over', 'over'])
  })

  it('puts the posts on their days and prints the count there', () => {
    expect(cells.filter((c) => c.promised).map((c) => [c.date, c.count])).toEqual([['2026-10-10', 3]])
    expect(cells.filter((c) => c.statutory).map((c) => [c.date, c.count, c.provisional])).toEqual([['2026-10-13', 5, true]])
  })

  it('leaves a wider gap before each new week', () => {
    expect(cells.map((c) => c.week)).toEqual([false, false, false, true, true, false])
  })
})

describe('the day grid', () => {
  it('starts its weeks on Monday', () => {
    const grid = weeks(DAYS.slice(0, 6))
    expect(grid).toHaveLength(2)
    expect(grid[0]!.slice(0, 3)).toEqual([null, null, null])
    expect(grid[0]![3]!.date).toBe('2026-09-24')
    expect(grid[1]![0]!.date).toBe('2026-09-28')
    expect(grid.every((w) => w.length === 7)).toBe(true)
  })

  it('is empty without days', () => {
    expect(weeks([])).toEqual([])
  })
})

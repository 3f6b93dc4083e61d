import { describe, expect, it } from 'vitest'

import { LEAST_GAP_PX, boxOf, fitting, textWidth, ticks, tickStep, toTime, toX, within, zoom } from '../src/lib/lanes'

const T = Date.parse('2026-09-15T09:00:00+08:00')
const HOUR = 3_600_000
const SCALE = { from: T, to: T + HOUR, width: 1000 }

describe('the scale', () => {
  it('is its own inverse, to the pixel', () => {
    for (const x of [0, 1, 333, 1000]) expect(toX(SCALE, toTime(SCALE, x))).toBeCloseTo(x, 3)
    expect(Number.isInteger(toTime(SCALE, 123.4))).toBe(true)
  })

  it('never draws a gap thinner than it can be seen', () => {
    expect(boxOf(SCALE, T + 1000, T + 1040, LEAST_GAP_PX)!.width).toBe(LEAST_GAP_PX)
  })

  it('cuts what leaves the view and drops what is outside', () => {
    expect(boxOf(SCALE, T - HOUR, T + HOUR / 2)).toEqual({ x: 0, width: 500 })
    expect(boxOf(SCALE, T + HOUR / 2, null)).toEqual({ x: 500, width: 500 })
    expect(boxOf(SCALE, T + 2 * HOUR, null)).toBeNull()
    expect(boxOf(SCALE, T - 2 * HOUR, T - HOUR)).toBeNull()
  })
})

describe('ticks', () => {
  it('stand on round times and leave room for their labels', () => {
    const step = tickStep(SCALE, 84)
    expect((step / HOUR) * SCALE.width).toBeGreaterThanOrEqual(84)
    for (const t of ticks(SCALE, 84)) expect(t % step).toBe(0)
  })

  it('of days start at midnight of the site', () => {
    const days = ticks({ from: T, to: T + 20 * 24 * HOUR, width: 1000 }, 40)
    expect(new Date(days[0]! + 8 * HOUR).getUTCHours()).toBe(0)
  })
})

describe('labels', () => {
  it('are printed only where they do not touch the next mark', () => {
    expect(fitting([{ x: 0, text: '开始受理' }, { x: 30, text: '完成' }], 11, 9, 400)).toEqual([false, true])
  })

  it('count a Chinese character as a full em', () => {
    expect(textWidth('办件', 10)).toBe(20)
    expect(textWidth('ab', 10)).toBeCloseTo(11.2)
  })
})

describe('zoom and move', () => {
  const bounds: [number, number] = [T, T + HOUR]

  it('keep the instant under the pointer in its place', () => {
    const at = T + HOUR / 4
    const [from, to] = zoom(bounds, at, 0.5, bounds)
    expect((at - from) / (to - from)).toBeCloseTo(0.25)
  })

  it('stay inside the case', () => {
    expect(zoom(bounds, T, 4, bounds)).toEqual(bounds)
    expect(within([T - 1000, T + 1000], bounds)).toEqual([T, T + 2000])
  })
})

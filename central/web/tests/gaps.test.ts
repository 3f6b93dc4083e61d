import { describe, expect, it } from 'vitest'

import { clip, complete, covers, gapAt, holes, jump, merge, percent, total } from '../src/lib/gaps'

const span = (from_ms: number, to_ms: number) => ({ from_ms, to_ms })

describe('intervals of footage', () => {
  it('merge touching and overlapping ones and count overlaps once', () => {
    expect(merge([span(5, 9), span(0, 5), span(8, 12), span(20, 21)])).toEqual([span(0, 12), span(20, 21)])
    expect(total([span(0, 10), span(5, 15)])).toBe(15)
  })

  it('leave the given list as it was', () => {
    const given = [span(0, 5), span(5, 9)]
    merge(given)
    expect(given).toEqual([span(0, 5), span(5, 9)])
  })

  it('find every hole of a range', () => {
    expect(holes([span(10, 20), span(30, 40)], span(0, 50))).toEqual([span(0, 10), span(20, 30), span(40, 50)])
    expect(holes([span(0, 50)], span(10, 20))).toEqual([])
    expect(holes([], span(1, 2))).toEqual([span(1, 2)])
  })

  it('recorded and holes together are the range', () => {
    const range = span(0, 100)
    const spans = [span(-5, 7), span(30, 31), span(31, 60), span(90, 200)]
    const inside = spans.map((s) => clip(s, range)!)
    expect(total(inside) + total(holes(spans, range))).toBe(100)
  })

  it('are half-open', () => {
    expect(covers([span(0, 10)], 10)).toBe(false)
    expect(covers([span(0, 10)], 0)).toBe(true)
    expect(gapAt([span(0, 10)], 10)).toBeUndefined()
  })

  it('an open gap lasts to the end', () => {
    const open = { from_ms: 5, to_ms: null }
    expect(gapAt([open], 1e15)).toBe(open)
    expect(clip(open, span(0, 9))).toEqual(span(5, 9))
  })
})

describe('coverage', () => {
  it('is floored and 100 % only when it is whole', () => {
    expect(percent(1000)).toBe('100 %')
    expect(percent(999)).toBe('99.9 %')
    expect(percent(977)).toBe('97.7 %')
    expect(percent(0)).toBe('0.0 %')
  })

  it('counts the other cameras that hold all of a gap', () => {
    const others = [{ gaps: [] }, { gaps: [span(15, 16)] }, { gaps: [span(20, 30)] }]
    expect(complete(others, span(10, 20))).toBe(2)
  })
})

describe('jumps', () => {
  const stops = [100_000, 200_000]

  it('land before the stop by the lead', () => {
    expect(jump(stops, 0, 1, 3000)).toBe(97_000)
    expect(jump(stops, 150_000, -1, 5000)).toBe(95_000)
  })

  it('go on from the stop one stands on', () => {
    expect(jump(stops, 97_000, 1, 3000)).toBe(197_000)
    expect(jump(stops, 197_000, 1, 3000)).toBeNull()
    expect(jump(stops, 97_000, -1, 3000)).toBeNull()
  })
})

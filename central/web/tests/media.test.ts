import { describe, expect, it } from 'vitest'

import { correct, playlistWindow, toMedia, toWall, type Piece } from '../src/lib/media'

const T = Date.parse('2026-09-15T09:19:00+08:00')
/** Two pieces, a hole of 20 s that media time does not know, and one more piece. */
const PIECES: Piece[] = [
  { wall: T, media: 0, length: 2 },
  { wall: T + 2000, media: 2, length: 2 },
  { wall: T + 24_000, media: 4, length: 2 },
]

describe('wall time and media time', () => {
  it('agree inside the pieces, on both sides of a hole', () => {
    expect(toMedia(PIECES, T + 500)).toBe(0.5)
    expect(toMedia(PIECES, T + 3999)).toBeCloseTo(3.999)
    expect(toMedia(PIECES, T + 25_000)).toBe(5)
    expect(toWall(PIECES, 5)).toBe(T + 25_000)
  })

  it('say nothing in a hole and outside', () => {
    expect(toMedia(PIECES, T + 10_000)).toBeNull()
    expect(toMedia(PIECES, T - 1000)).toBeNull()
    expect(toMedia(PIECES, T + 27_000)).toBeNull()
    expect(toMedia([], T)).toBeNull()
    expect(toWall([], 1)).toBeNull()
    expect(toWall(PIECES, 99)).toBeNull()
  })

  it('bridge the limited digits of a playlist, and no more', () => {
    expect(toMedia(PIECES, T + 4030)).toBeCloseTo(3.999)
    expect(toMedia(PIECES, T + 4060)).toBeNull()
    expect(toMedia(PIECES, T + 23_970)).toBe(4)
  })

  it('the same media time on the edge of a hole belongs to the later piece', () => {
    expect(toWall(PIECES, 4)).toBe(T + 24_000)
  })

  it('round trip for every millisecond that is recorded', () => {
    for (let ms = 0; ms < 4000; ms += 37) expect(toWall(PIECES, toMedia(PIECES, T + ms)!)).toBe(T + ms)
  })
})

describe('drift', () => {
  it('seeks when far, bends the rate when near, rests when right', () => {
    expect(correct(10, 9.4, 1)).toEqual({ seek: true, rate: 1 })
    expect(correct(10, 9.8, 1)).toEqual({ seek: false, rate: 1.05 })
    expect(correct(10, 10.2, 1)).toEqual({ seek: false, rate: 0.95 })
    expect(correct(10, 10.02, 2)).toEqual({ seek: false, rate: 2 })
  })
})

describe('the window of a playlist', () => {
  const allowed = { from_ms: T, to_ms: T + 7_200_000 }

  it('is stable while one seeks within half an hour and holds the instant', () => {
    const first = playlistWindow(T + 700_000, allowed)
    expect(playlistWindow(T + 800_000, allowed)).toEqual(first)
    expect(first.from_ms).toBeLessThanOrEqual(T + 700_000)
    expect(first.to_ms).toBeGreaterThan(T + 800_000)
  })

  it('never leaves what was registered', () => {
    const w = playlistWindow(T, { from_ms: T - 5, to_ms: T + 5 })
    expect(w).toEqual({ from_ms: T - 5, to_ms: T + 5 })
  })
})

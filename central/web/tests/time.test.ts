import { describe, expect, it } from 'vitest'

import { dateText, duration, fullDay, hms, hmsTenth, isoWall, offsetText, parseWall, rangeText } from '../src/lib/time'

const AT = Date.parse('2026-09-15T09:34:02.480+08:00')

describe('times of the site', () => {
  it('are shown in Asia/Shanghai, whatever the zone of the machine', () => {
    expect(hms(AT)).toBe('09:34:02')
    expect(fullDay(AT, 'zh')).toBe('2026年9月15日（周二）')
    expect(fullDay(AT, 'en')).toBe('Tue 15 Sep 2026')
  })

  it('cut the tenth and never round it up', () => {
    expect(hmsTenth(AT)).toBe('09:34:02.4')
    expect(hmsTenth(Date.parse('2026-09-15T09:34:02.999+08:00'))).toBe('09:34:02.9')
  })

  it('cross midnight where the site does', () => {
    expect(isoWall(Date.parse('2026-09-14T16:00:00Z'))).toBe('2026-09-15T00:00:00.000+08:00')
  })

  it('name the day only when a range spans two', () => {
    expect(rangeText(AT, AT + 101_000, 'zh')).toBe('09:34:02 – 09:35:43')
    expect(rangeText(AT, AT + 86_400_000, 'zh')).toBe('9月15日 09:34:02 – 9月16日 09:34:02')
    expect(rangeText(AT, null, 'zh')).toBe('09:34:02 – 现在')
  })

  it('print the year of a due date only when it is another one', () => {
    expect(dateText('2026-12-18', 'zh', 2026)).toBe('12月18日')
    expect(dateText('2027-01-04', 'zh', 2026)).toBe('2027年1月4日')
    expect(dateText('not a date', 'zh')).toBe('not a date')
  })
})

describe('durations', () => {
  it('read as people say them', () => {
    expect(duration(101_000, 'zh')).toBe('1 分 41 秒')
    expect(duration(3_660_000, 'zh')).toBe('1 小时 1 分')
    expect(duration(3_660_000, 'en')).toBe('1 h 1 min')
  })

  it('never say nothing about a very short gap', () => {
    expect(duration(12, 'zh')).toBe('0.1 秒')
    expect(duration(1990, 'zh')).toBe('2.0 秒')
  })

  it('sign a clock offset', () => {
    expect(offsetText(840)).toBe('+0.84 s')
    expect(offsetText(-20)).toBe('−0.02 s')
    expect(offsetText(-2)).toBe('0.00 s')
  })
})

describe('reading an instant', () => {
  it('takes what a link carries, also when the plus sign became a space', () => {
    expect(parseWall(isoWall(AT))).toBe(AT)
    expect(parseWall(isoWall(AT).replace('+', ' '))).toBe(AT)
    expect(parseWall(String(AT))).toBe(AT)
    expect(parseWall('2026-09-15T01:34:02.480Z')).toBe(AT)
  })

  it('takes a time of the day next to a known instant', () => {
    expect(parseWall('9:34', AT)).toBe(Date.parse('2026-09-15T09:34:00+08:00'))
    expect(parseWall('09：34：02.48', AT)).toBe(AT)
    expect(parseWall('2026-09-15 09:34:02', AT)).toBe(AT - 480)
  })

  it('refuses what is none', () => {
    for (const text of ['', '25:00', '09:61', 'tomorrow', '2026-13-40T00:00:00Z']) expect(parseWall(text, AT)).toBeNull()
    expect(parseWall('09:34')).toBeNull()
  })
})

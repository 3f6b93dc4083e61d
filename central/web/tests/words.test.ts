import { describe, expect, it } from 'vitest'

import { en } from '../src/i18n/en'
import { zh, type Key } from '../src/i18n/zh'

const holes = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map((m) => m[1]).sort()
const keys = Object.keys(zh) as Key[]

describe('the two languages', () => {
  it('have the same keys and the same places to fill in', () => {
    expect(Object.keys(en).sort()).toEqual([...keys].sort())
    for (const k of keys) expect(holes(en[k]), k).toEqual(holes(zh[k]))
  })

  it('use plain words', () => {
    for (const k of keys) expect(zh[k], k).not.toMatch(/请您|系统异常|操作失败|[!！]/)
  })
})

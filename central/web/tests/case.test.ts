import { describe, expect, it } from 'vitest'

import type { Case, Device, Step } from '../src/api/types'
import { keyName } from '../src/composables/useKeys'
import { share, statement } from '../src/lib/coverage'
import { targetOf } from '../src/lib/guards'
import { troubles, worstFirst } from '../src/lib/trouble'
import { caseBounds, firstStep, stepRange } from '../src/lib/window'

const T = 1_789_435_200_000
const MIN = 60_000

function step(seq: number, from: number | null, to: number | null, more: Partial<Step> = {}): Step {
  return {
    id: `s${seq}`, seq, code: `c${seq}`, name: `步骤${seq}`, role: 'clerk', state: from === null ? 'locked' : to === null ? 'running' : 'done',
    place: null, place_name: '', person: null, person_name: '', started_ms: from, ended_ms: to, legal_basis: '', limit_text: '', due: null,
    link: null, form: [], values: {}, makes: [], ...more,
  }
}

function file(steps: Step[]): Case {
  return {
    no: 'A-1', item: 'i', item_name: 'i', pack_version: '1', applicant_masked: '', unit: '', place: '', place_name: '', state: 'in_progress',
    opened_ms: T, clocks: [], steps, materials: [], guards: [], events: [], revision: 1, saved_ms: null,
  }
}

function device(id: string, more: Partial<Device>): Device {
  return {
    id, device_class: 'camera', name: id, place: null, place_name: '', health: 'online', cause: 'ok', detail: '', since_ms: 0, spool_pending: 0,
    clock_offset_ms: null, streams: [], maker: '', model: '', firmware: '', serial: '', ...more,
  }
}

describe('what a case page shows', () => {
  it('spans the case and grows while a step runs', () => {
    const done = file([step(1, T, T + 10 * MIN)])
    expect(caseBounds(done, T + 99 * MIN)).toEqual([T - MIN, T + 11 * MIN])
    const running = file([step(1, T, T + MIN), step(2, T + MIN, null)])
    expect(caseBounds(running, T + 99 * MIN)[1]).toBe(T + 100 * MIN)
  })

  it('gives a long step three minutes before and four after, a short one less', () => {
    const bounds: [number, number] = [T - 60 * MIN, T + 600 * MIN]
    expect(stepRange(step(1, T, T + 30 * MIN), 0, bounds)).toEqual([T - 3 * MIN, T + 34 * MIN])
    expect(stepRange(step(1, T, T + 10_000), 0, bounds)).toEqual([T - 15_000, T + 25_000])
  })

  it('opens with the running step, else with the last that began', () => {
    expect(firstStep(file([step(1, T, T), step(2, T, null), step(3, null, null)]))).toBe(2)
    expect(firstStep(file([step(1, T, T), step(2, T, T), step(3, null, null)]))).toBe(2)
    expect(firstStep(file([step(1, null, null)]))).toBe(1)
  })
})

describe('the coverage statement', () => {
  const stream = (name: string, gaps: { from_ms: number; to_ms: number | null }[], permille = 1000) => ({
    stream: name, device_name: name, covered_permille: permille, missing_ms: 0, clock_offset_ms: null, gaps: gaps.map((g) => ({ ...g, cause: 'packet_loss', detail: '' })),
  })
  const s = step(2, T, T + 10 * MIN)

  it('counts only what is missing of the step itself', () => {
    const said = statement(s, [stream('a', [{ from_ms: T - MIN, to_ms: T + MIN }]), stream('b', [])], 0)
    expect(said.lacks).toEqual([{ name: 'a', ms: MIN }])
    expect(said.others).toEqual({ of: 1, whole: 1 })
    expect(said.length).toBe(10 * MIN)
  })

  it('does not claim help from a camera that has the same hole', () => {
    const hole = [{ from_ms: T + MIN, to_ms: T + 2 * MIN }]
    expect(statement(s, [stream('a', hole), stream('b', hole)], 0).others).toEqual({ of: 1, whole: 0 })
  })

  it('without a hole there is nothing to say of others', () => {
    expect(statement(s, [stream('a', [])], 0)).toMatchObject({ lacks: [], others: null })
  })

  it('is never 100 % with a gap, although one camera has it all', () => {
    const link = { revision: 1, final: true, covered_permille: 1000, streams: [stream('a', []), stream('b', [], 999)] }
    expect(share(link)).toBe(999)
  })
})

describe('the list of troubles', () => {
  it('is ranked by level, then by how long it lasts, one line per cause', () => {
    const found = troubles([
      device('ok', {}),
      device('late', { device_class: 'fingerprint_terminal', health: 'degraded', cause: 'clock_wrong', clock_offset_ms: -35_000 }),
      device('dark', { health: 'offline', since_ms: 50 }),
      device('darker', { health: 'offline', since_ms: 20 }),
      device('behind', { spool_pending: 300 }),
      device('busy', { spool_pending: 3 }),
    ])
    expect(found.map((x) => x.id)).toEqual(['darker/offline', 'dark/offline', 'late/degraded', 'behind/spool'])
  })

  it('puts the worst device first', () => {
    const order = worstFirst([device('a', {}), device('b', { health: 'degraded' }), device('c', { health: 'offline' })]).map((d) => d.id)
    expect(order).toEqual(['c', 'b', 'a'])
  })
})

describe('keys', () => {
  it('have names that tell Shift apart where it means something', () => {
    expect(keyName({ key: 'G', shiftKey: true })).toBe('Shift+g')
    expect(keyName({ key: '?', shiftKey: true })).toBe('?')
    expect(keyName({ key: ' ', shiftKey: false })).toBe('Space')
    expect(keyName({ key: 'ArrowLeft', shiftKey: true })).toBe('Shift+ArrowLeft')
  })
})

describe('guards of the server', () => {
  it('point at a field, at a material, or nowhere', () => {
    expect(targetOf({ field: 'values.premises' })).toEqual({ kind: 'value', code: 'premises' })
    expect(targetOf({ field: 'materials.application' })).toEqual({ kind: 'material', code: 'application' })
    expect(targetOf({ field: 'premises' })).toEqual({ kind: 'value', code: 'premises' })
    expect(targetOf({ field: '' })).toBeNull()
  })
})

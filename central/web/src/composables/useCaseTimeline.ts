/** The lanes of what is visible, asked for with a margin so that a small move costs no request. */
import { ref, shallowRef, watch } from 'vue'

import { api } from '../api/calls'
import type { CaseTimeline } from '../api/types'
import { holds, type Range } from '../lib/window'
import { sayError } from './useApi'
import { settled, useLive } from './useLive'

export function useCaseTimeline(no: () => string, range: () => Range, bounds: () => Range, retrieval: () => string | undefined) {
  const data = shallowRef<CaseTimeline | null>(null)
  const error = ref('')
  let loaded: Range | null = null
  let turn = 0

  async function load(): Promise<void> {
    const own = ++turn
    const [from, to] = range()
    const wide = to - from
    const want: Range = [Math.floor(Math.max(bounds()[0], from - wide / 2)), Math.ceil(Math.min(bounds()[1], to + wide / 2))]
    try {
      const got = await api.timeline(no(), want[0], want[1], retrieval())
      if (own !== turn) return
      data.value = got
      loaded = want
      error.value = ''
    } catch (cause) {
      if (own === turn) error.value = sayError(cause)
    }
  }

  const soon = settled(() => void load(), 150)
  watch(range, (r) => {
    if (!holds(loaded, r)) soon()
  })
  watch(retrieval, () => void load())
  useLive(['punch', 'presence', 'link', 'case', 'device'], settled(() => void load(), 500), () => void load())
  void load()
  return { data, error, reload: load }
}

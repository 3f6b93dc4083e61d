/**
 * The reason before the footage. Until a retrieval is registered there is no id, and without the id no
 * address of footage can even be built.
 */
import { computed, onScopeDispose, ref, shallowRef } from 'vue'

import { api } from '../api/calls'
import type { Retrieval, RetrievalRequest } from '../api/types'
import { sayError } from './useApi'

export function useReason(caseNo: () => string) {
  const retrieval = shallowRef<Retrieval | null>(null)
  const asking = ref(false)
  const sending = ref(false)
  const error = ref('')
  const expired = ref(false)
  let timer = 0

  function expireAt(r: Retrieval): void {
    window.clearTimeout(timer)
    const left = r.expires_ms - Date.now()
    // Timers cannot wait longer than 2^31 ms; such an entry outlives the page.
    if (left < 2 ** 31) timer = window.setTimeout(close, Math.max(0, left))
  }

  function close(): void {
    retrieval.value = null
    expired.value = true
  }

  async function confirm(request: RetrievalRequest): Promise<boolean> {
    sending.value = true
    error.value = ''
    try {
      const granted = await api.retrieve(caseNo(), request)
      retrieval.value = granted
      expired.value = false
      asking.value = false
      expireAt(granted)
      return true
    } catch (cause) {
      error.value = sayError(cause)
      return false
    } finally {
      sending.value = false
    }
  }

  onScopeDispose(() => window.clearTimeout(timer))
  return {
    retrieval,
    open: computed(() => retrieval.value !== null),
    expired,
    asking,
    sending,
    error,
    ask: () => {
      error.value = ''
      asking.value = true
    },
    confirm,
  }
}

export type Reason = ReturnType<typeof useReason>

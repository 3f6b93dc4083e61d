/** A value of the server with its loading and error state; keeps the old value while reloading. */
import { onScopeDispose, ref, shallowRef, type Ref, type ShallowRef } from 'vue'

import { ApiError, Unreachable } from '../api/client'
import type { Guard } from '../api/types'
import { lang, t } from '../i18n'

export interface Remote<T> {
  data: ShallowRef<T | null>
  error: Ref<string>
  loading: Ref<boolean>
  /** True from the moment that loading has taken long enough to be shown. */
  slow: Ref<boolean>
  reload: () => Promise<void>
}

/** An error in words: the server's own where it answered. */
export function sayError(error: unknown): string {
  if (error instanceof Unreachable) return t('state.unreachable')
  if (error instanceof ApiError) {
    const p = error.problem
    const text = lang.value === 'zh' ? p.message : p.message_en || p.message
    return [text, p.article, p.action].filter(Boolean).join(lang.value === 'zh' ? '；' : '; ')
  }
  return error instanceof Error ? error.message : String(error)
}

/** The guards that an error carries, if it is a refusal by the flow. */
export function guardsOf(error: unknown): Guard[] {
  return error instanceof ApiError ? (error.problem.guards ?? []) : []
}

const SHOW_LOADING_MS = 300

/** Load with `fetcher`; of overlapping loads only the last one counts. */
export function useApi<T>(fetcher: () => Promise<T>, immediate = true): Remote<T> {
  const data = shallowRef<T | null>(null)
  const error = ref('')
  const loading = ref(false)
  const slow = ref(false)
  let turn = 0
  let timer = 0

  async function reload(): Promise<void> {
    const own = ++turn
    loading.value = true
    window.clearTimeout(timer)
    timer = window.setTimeout(() => (slow.value = loading.value), SHOW_LOADING_MS)
    try {
      const value = await fetcher()
      if (own !== turn) return
      data.value = value
      error.value = ''
    } catch (cause) {
      if (own === turn) error.value = sayError(cause)
    } finally {
      if (own === turn) {
        loading.value = false
        slow.value = false
        window.clearTimeout(timer)
      }
    }
  }

  onScopeDispose(() => {
    turn++
    window.clearTimeout(timer)
  })
  if (immediate) void reload()
  return { data, error, loading, slow, reload }
}

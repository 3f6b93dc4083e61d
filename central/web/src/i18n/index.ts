/** Two languages, one typed dictionary. Chinese is the source; English must have the same keys. */
import { ref, watchEffect } from 'vue'

import type { Lang } from '../lib/time'
import { en } from './en'
import { zh, type Key } from './zh'

const STORE = 'mingjing.lang'

function initial(): Lang {
  try {
    return localStorage.getItem(STORE) === 'en' ? 'en' : 'zh'
  } catch {
    return 'zh'
  }
}

export const lang = ref<Lang>(initial())

export function setLang(next: Lang): void {
  lang.value = next
  try {
    localStorage.setItem(STORE, next)
  } catch {
    // Storage may be off; the choice then lasts as long as the page.
  }
}

watchEffect(() => {
  document.documentElement.lang = lang.value === 'zh' ? 'zh-CN' : 'en'
})

/** The text of a key, with `{name}` filled in. */
export function t(key: Key, params: Record<string, string | number> = {}): string {
  const text: string = (lang.value === 'zh' ? zh : en)[key]
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => String(params[name] ?? whole))
}

/** The text of a code of the server (`cause.disk_full`); the code itself when we know no word for it. */
export function word(group: string, code: string): string {
  const key = `${group}.${code}`
  return key in zh ? t(key as Key) : code
}

export type { Key }

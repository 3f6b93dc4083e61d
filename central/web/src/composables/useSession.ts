/** Who is signed in. One state for the whole page. */
import { readonly, ref } from 'vue'

import { api } from '../api/calls'
import { ApiError } from '../api/client'
import type { Me, PageName } from '../api/types'

const me = ref<Me | null>(null)
let asked: Promise<Me | null> | null = null

const HOMES: Record<PageName, string> = {
  counter: '/counter',
  monitor: '/monitor',
  cases: '/cases',
  devices: '/devices',
  register: '/register',
}

const FIRST: Record<Me['role'], PageName[]> = {
  clerk: ['counter'],
  unit_head: ['counter', 'cases'],
  inspector: ['cases'],
  operator: ['monitor'],
  installer: ['devices'],
  administrator: ['devices', 'monitor'],
}

export function useSession() {
  return {
    me: readonly(me),

    /** The signed-in user, asked once; null when nobody is. */
    async load(): Promise<Me | null> {
      asked ??= api.me().catch((error: unknown) => {
        asked = null
        if (error instanceof ApiError && error.status === 401) return null
        throw error
      })
      me.value = await asked
      return me.value
    },
    signedIn(next: Me) {
      me.value = next
      asked = Promise.resolve(next)
    },
    signedOut() {
      me.value = null
      asked = null
    },
    /** Where this user's work begins. */
    home(): string {
      const user = me.value
      if (!user) return '/login'
      const page = FIRST[user.role].find((p) => user.pages.includes(p)) ?? user.pages[0]
      return page ? HOMES[page] : '/denied'
    },
  }
}

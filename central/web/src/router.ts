import { createRouter, createWebHistory } from 'vue-router'

import { whenSignedOut } from './api/client'
import type { PageName } from './api/types'
import { stopLive } from './composables/useLive'
import { useSession } from './composables/useSession'
import { useTheme } from './composables/useTheme'
import { t, type Key } from './i18n'

declare module 'vue-router' {
  interface RouteMeta {
    /** The right that opens the page. */
    page?: PageName
    /** Without the frame. */
    bare?: boolean
    /** What the page is designed for. */
    theme?: 'light' | 'dark'
    title?: Key
  }
}

const session = useSession()

export const router = createRouter({
  history: createWebHistory(),
  routes: [
    { path: '/', name: 'home', redirect: () => session.home() },
    { path: '/login', name: 'login', component: () => import('./pages/LoginPage.vue'), meta: { bare: true, title: 'login.title' } },
    { path: '/counter', name: 'counter', component: () => import('./pages/CounterPage.vue'), meta: { page: 'counter', title: 'nav.counter' } },
    {
      path: '/counter/cases/:no',
      name: 'counter-case',
      component: () => import('./pages/CounterCasePage.vue'),
      props: true,
      meta: { page: 'counter', title: 'nav.counter' },
    },
    {
      path: '/monitor',
      name: 'monitor',
      component: () => import('./pages/MonitorPage.vue'),
      meta: { page: 'monitor', theme: 'dark', title: 'nav.monitor' },
    },
    { path: '/cases', name: 'cases', component: () => import('./pages/CasesPage.vue'), meta: { page: 'cases', title: 'nav.cases' } },
    {
      path: '/cases/:no',
      name: 'case',
      component: () => import('./pages/CasePage.vue'),
      props: true,
      meta: { page: 'cases', title: 'nav.cases' },
    },
    { path: '/devices', name: 'devices', component: () => import('./pages/DevicesPage.vue'), meta: { page: 'devices', title: 'nav.devices' } },
    {
      path: '/register',
      name: 'register',
      component: () => import('./pages/RegisterPage.vue'),
      meta: { page: 'register', title: 'nav.register' },
    },
    { path: '/denied', name: 'denied', component: () => import('./pages/DeniedPage.vue') },
    { path: '/:path(.*)*', name: 'missing', component: () => import('./pages/MissingPage.vue') },
  ],
})

function toLogin(path: string) {
  return { name: 'login', query: path === '/' ? {} : { next: path } }
}

router.beforeEach(async (to) => {
  if (to.name === 'login') return true
  const user = await session.load().catch(() => null)
  if (!user) return toLogin(to.fullPath)
  if (to.meta.page && !user.pages.includes(to.meta.page)) return { name: 'denied', query: { page: to.meta.page } }
  // The redirect of "/" was decided before anybody was known.
  if (to.redirectedFrom?.path === '/' && to.path !== session.home()) return session.home()
  return true
})

router.afterEach((to) => {
  useTheme().design(to.meta.theme ?? 'light')
  document.title = to.meta.title ? `${t(to.meta.title)} · ${t('app.name')}` : t('app.title')
})

whenSignedOut(() => {
  stopLive()
  session.signedOut()
  const at = router.currentRoute.value
  if (at.name && at.name !== 'login') void router.replace({ ...toLogin(at.fullPath), query: { next: at.fullPath, again: '1' } })
})

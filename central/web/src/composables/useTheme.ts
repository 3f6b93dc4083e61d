/** Light or dark: the user's choice, else what the page is designed for. */
import { computed, ref, watchEffect } from 'vue'

export type ThemeChoice = 'auto' | 'light' | 'dark'

const STORE = 'mingjing.theme'

function initial(): ThemeChoice {
  try {
    const stored = localStorage.getItem(STORE)
    return stored === 'light' || stored === 'dark' ? stored : 'auto'
  } catch {
    return 'auto'
  }
}

const choice = ref<ThemeChoice>(initial())
const pageTheme = ref<'light' | 'dark'>('light')
const dark = computed(() => (choice.value === 'auto' ? pageTheme.value : choice.value) === 'dark')

watchEffect(() => document.documentElement.classList.toggle('dark', dark.value))

export function useTheme() {
  return {
    choice,
    dark,
    choose(next: ThemeChoice) {
      choice.value = next
      try {
        localStorage.setItem(STORE, next)
      } catch {
        // Storage may be off; the choice then lasts as long as the page.
      }
    },
    /** What the open page is designed for; counts while nothing was chosen. */
    design(next: 'light' | 'dark') {
      pageTheme.value = next
    },
  }
}

/**
 * Single-key shortcuts (WCAG 2.1.4: they can be switched off). They do nothing while typing, while an
 * input method composes, with Ctrl, Alt or Meta held, and in dialogs.
 */
import { onBeforeUnmount, onMounted, ref } from 'vue'

const STORE = 'mingjing.keys'

function initial(): boolean {
  try {
    return localStorage.getItem(STORE) !== 'off'
  } catch {
    return true
  }
}

export const keysOn = ref(initial())

export function setKeys(on: boolean): void {
  keysOn.value = on
  try {
    localStorage.setItem(STORE, on ? 'on' : 'off')
  } catch {
    // The choice then lasts as long as the page.
  }
}

const TYPING = 'input:not([type=radio]):not([type=checkbox]),textarea,select,[contenteditable],[role=combobox]'
/** Some input methods report only this code while composing. */
const COMPOSING = 229

/** `Shift+G`, `ArrowLeft`, `?`: the name under which a key is looked up. */
export function keyName(e: Pick<KeyboardEvent, 'key' | 'shiftKey'>): string {
  const letter = e.key.length === 1
  const name = letter ? e.key.toLowerCase() : e.key
  const shifted = e.shiftKey && (!letter || /[a-z]/.test(name))
  return (shifted ? 'Shift+' : '') + (name === ' ' ? 'Space' : name)
}

function ours(e: KeyboardEvent): boolean {
  if (e.defaultPrevented || e.isComposing || e.keyCode === COMPOSING) return false
  if (e.ctrlKey || e.metaKey || e.altKey) return false
  const at = e.target instanceof Element ? e.target : document.body
  if (at.closest(TYPING) || at.closest('[role=dialog],[role=menu],[role=listbox]:not([data-keys])')) return false
  // A dialog that is open takes the keyboard even when focus has not arrived in it.
  if (document.querySelector('.el-overlay-dialog:not([style*="display: none"]) [role=dialog]')) return false
  const presses = e.key === ' ' || e.key === 'Enter'
  return !(presses && at.closest('button,a,summary,[role=button],[role=radio]'))
}

export function useKeys(map: Record<string, () => void>): void {
  const onKey = (e: KeyboardEvent) => {
    if (!keysOn.value || !ours(e)) return
    const act = map[keyName(e)]
    if (!act) return
    e.preventDefault()
    act()
  }
  onMounted(() => window.addEventListener('keydown', onKey))
  onBeforeUnmount(() => window.removeEventListener('keydown', onKey))
}

/** Ctrl+S (or Meta+S) saves, also while typing. */
export function useSaveKey(save: () => void): void {
  const onKey = (e: KeyboardEvent) => {
    if (!(e.ctrlKey || e.metaKey) || e.key.toLowerCase() !== 's') return
    e.preventDefault()
    save()
  }
  onMounted(() => window.addEventListener('keydown', onKey))
  onBeforeUnmount(() => window.removeEventListener('keydown', onKey))
}

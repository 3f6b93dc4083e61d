/** Is an element on screen? Feeds nobody sees are not fetched. */
import { onScopeDispose, ref, watch, type Ref } from 'vue'

export function useVisible(element: Ref<HTMLElement | null>) {
  const inView = ref(false)
  const pageShown = ref(!document.hidden)
  const observer = new IntersectionObserver((entries) => {
    const last = entries[entries.length - 1]
    if (last) inView.value = last.isIntersecting
  })
  watch(element, (now, before) => {
    if (before) observer.unobserve(before)
    if (now) observer.observe(now)
  })
  const onPage = () => (pageShown.value = !document.hidden)
  document.addEventListener('visibilitychange', onPage)
  onScopeDispose(() => {
    observer.disconnect()
    document.removeEventListener('visibilitychange', onPage)
  })
  return { inView, pageShown }
}

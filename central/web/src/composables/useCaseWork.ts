/**
 * A clerk's work on one case: the form of the running step with its draft, and every action, guarded by
 * the case's revision. The server decides; the page shows what it answered.
 */
import { ElMessage } from 'element-plus'
import { computed, onScopeDispose, reactive, ref, shallowRef, watch } from 'vue'

import { api } from '../api/calls'
import { ApiError } from '../api/client'
import type { Case, Guard, Material, Step } from '../api/types'
import { t } from '../i18n'
import { guardsOf, sayError } from './useApi'

const AUTOSAVE_MS = 1500
const CONFLICT = 409

export function useCaseWork(no: () => string) {
  const data = shallowRef<Case | null>(null)
  const error = ref('')
  const problem = ref('')
  const busy = ref('')
  const refusal = ref<Guard[]>([])
  const values = reactive<Record<string, string>>({})
  const dirty = ref(false)
  const saving = ref(false)
  const saveError = ref('')
  let timer = 0

  /** The step that runs, or the next that may begin. */
  const step = computed<Step | null>(() => {
    const steps = data.value?.steps ?? []
    return steps.find((s) => s.state === 'running') ?? steps.find((s) => s.state === 'ready' || s.state === 'returned') ?? null
  })
  const next = computed<Step | null>(() => {
    const steps = data.value?.steps ?? []
    const at = step.value ? steps.indexOf(step.value) : -1
    return at >= 0 ? (steps[at + 1] ?? null) : null
  })
  const guards = computed(() => (refusal.value.length ? refusal.value : (data.value?.guards ?? [])))

  /** Take the server's case; what was typed and not saved stays. */
  function take(c: Case): void {
    const before = step.value?.id
    data.value = c
    refusal.value = []
    const same = step.value?.id === before && dirty.value
    if (same) return
    for (const key of Object.keys(values)) delete values[key]
    Object.assign(values, step.value?.values ?? {})
    dirty.value = false
    saveError.value = ''
  }

  async function load(): Promise<void> {
    try {
      take(await api.case(no()))
      error.value = ''
    } catch (cause) {
      error.value = sayError(cause)
    }
  }

  function edit(code: string, value: string): void {
    values[code] = value
    dirty.value = true
    window.clearTimeout(timer)
    timer = window.setTimeout(() => void save(), AUTOSAVE_MS)
  }

  async function save(): Promise<void> {
    window.clearTimeout(timer)
    const c = data.value
    const s = step.value
    if (!c || s?.state !== 'running' || !dirty.value || saving.value) return
    saving.value = true
    const sent = JSON.stringify(values)
    try {
      const saved = await api.draft(c.no, s.seq, { ...values }, c.revision)
      // Typing may have gone on while this was under way.
      if (JSON.stringify(values) === sent) dirty.value = false
      take(saved)
      saveError.value = ''
    } catch (cause) {
      saveError.value = sayError(cause)
      if (cause instanceof ApiError && cause.status === CONFLICT) await catchUp()
    } finally {
      saving.value = false
    }
  }

  /** Somebody else changed the case: take theirs, keep what was typed here. */
  async function catchUp(): Promise<void> {
    const kept = { ...values }
    await load()
    Object.assign(values, kept)
    dirty.value = true
    ElMessage.warning(t('work.conflict'))
  }

  /** Run an action; the answer is the case. Returns whether it was done. */
  async function act(name: string, call: (c: Case) => Promise<Case>): Promise<boolean> {
    const c = data.value
    if (!c || busy.value) return false
    busy.value = name
    problem.value = ''
    try {
      take(await call(c))
      return true
    } catch (cause) {
      const named = guardsOf(cause)
      if (cause instanceof ApiError && cause.status === CONFLICT && named.length === 0) await load()
      if (named.length) refusal.value = named
      problem.value = sayError(cause)
      return false
    } finally {
      busy.value = ''
    }
  }

  const start = (place: string) => act('start', (c) => api.start(c.no, step.value!.seq, place))
  const finish = async () => {
    window.clearTimeout(timer)
    const done = await act('finish', (c) => api.finish(c.no, step.value!.seq, { ...values }, c.revision))
    return done
  }
  const material = (code: string, state: Material['state'], note: string) =>
    act(`material/${code}`, async (c) => {
      await save()
      return api.material(c.no, code, state, note, data.value?.revision ?? c.revision)
    })
  const suspend = (reason: string, notice: string) => act('suspend', (c) => api.suspend(c.no, reason, notice, c.revision))
  const resume = () => act('resume', (c) => api.resume(c.no))

  watch(no, () => void load())
  void load()
  onScopeDispose(() => {
    window.clearTimeout(timer)
    // Leaving the page must not lose what was typed.
    void save()
  })

  return { data, error, problem, busy, values, dirty, saving, saveError, step, next, guards, load, edit, save, start, finish, material, suspend, resume }
}

export type CaseWork = ReturnType<typeof useCaseWork>

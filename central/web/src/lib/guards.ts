/** Where on the page a guard of the server points: a field of the form or a material. */
import type { Guard } from '../api/types'

export interface GuardTarget {
  kind: 'value' | 'material'
  code: string
}

/** `values.premises` → the field; `materials.application` → the material; anything else → nowhere. */
export function targetOf(guard: Pick<Guard, 'field'>): GuardTarget | null {
  const [head = '', ...rest] = (guard.field ?? '').split('.')
  const code = rest.join('.')
  if (head === 'values' && code) return { kind: 'value', code }
  if (head === 'materials' && code) return { kind: 'material', code }
  return head && !code ? { kind: 'value', code: head } : null
}

/** The element to bring into view. */
export const elementId = (target: GuardTarget) => `${target.kind === 'value' ? 'field' : 'material'}-${target.code}`

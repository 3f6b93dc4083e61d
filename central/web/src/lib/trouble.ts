/** What is wrong now, most urgent first: the operator's list, made of device states. */
import type { Device } from '../api/types'

export type Level = 'notice' | 'warning' | 'alarm'

export interface Trouble {
  id: string
  level: Level
  device: Device
  kind: 'offline' | 'degraded' | 'spool' | 'clock'
  since: number | null
}

/** A clock further off than this is worth a line; footage is corrected by the measured offset. */
export const CLOCK_NOTICE_MS = 2000
/** A few events under way are no backlog. */
export const SPOOL_NOTICE = 20

/** The line for people, where there is something to say. */
export const remedy = (d: Device) => (d.cause === 'ok' ? '' : d.detail)

const RANK: Record<Level, number> = { alarm: 0, warning: 1, notice: 2 }

function ofDevice(d: Device): Trouble[] {
  const out: Trouble[] = []
  const add = (kind: Trouble['kind'], level: Level) => out.push({ id: `${d.id}/${kind}`, level, device: d, kind, since: d.since_ms })
  if (d.health === 'offline') add('offline', d.device_class === 'camera' ? 'alarm' : 'warning')
  else if (d.health === 'degraded') add('degraded', 'warning')
  if (d.health === 'online' && d.spool_pending >= SPOOL_NOTICE) add('spool', 'notice')
  const off = d.clock_offset_ms !== null && Math.abs(d.clock_offset_ms) > CLOCK_NOTICE_MS
  // One line per cause: a device that is ill because of its clock is not listed twice.
  if (off && d.cause !== 'clock_wrong') add('clock', 'notice')
  return out
}

/** Level first, then the longest lasting. */
export function troubles(devices: readonly Device[]): Trouble[] {
  return devices
    .flatMap(ofDevice)
    .sort((a, b) => RANK[a.level] - RANK[b.level] || (a.since ?? Infinity) - (b.since ?? Infinity))
}

const WORST = ['offline', 'degraded', 'planned', 'online'] as const

/** Devices for the health page, worst first, then by name. */
export function worstFirst(devices: readonly Device[]): Device[] {
  return [...devices].sort(
    (a, b) => WORST.indexOf(a.health) - WORST.indexOf(b.health) || a.name.localeCompare(b.name, 'zh-CN'),
  )
}

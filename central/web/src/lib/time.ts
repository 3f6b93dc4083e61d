/**
 * Times of the site. The server sends instants (integer ms UTC); the browser shows them in
 * Asia/Shanghai, which has kept one offset since 1991, so plain arithmetic is exact.
 */
export type Lang = 'zh' | 'en'

const OFFSET_MS = 8 * 3_600_000
const MINUTE = 60_000
const HOUR = 3_600_000
export const DAY = 86_400_000

const WEEKDAYS_ZH = ['日', '一', '二', '三', '四', '五', '六']
const WEEKDAYS_EN = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat']
const MONTHS_EN = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

const two = (n: number) => String(n).padStart(2, '0')

interface Parts {
  year: number
  month: number
  day: number
  weekday: number
  hour: number
  minute: number
  second: number
  ms: number
}

/** Calendar parts of an instant in Asia/Shanghai. */
export function parts(at: number): Parts {
  const d = new Date(at + OFFSET_MS)
  return {
    year: d.getUTCFullYear(),
    month: d.getUTCMonth() + 1,
    day: d.getUTCDate(),
    weekday: d.getUTCDay(),
    hour: d.getUTCHours(),
    minute: d.getUTCMinutes(),
    second: d.getUTCSeconds(),
    ms: d.getUTCMilliseconds(),
  }
}

/** `09:34` */
export function hm(at: number): string {
  const p = parts(at)
  return `${two(p.hour)}:${two(p.minute)}`
}

/** `09:34:02` */
export function hms(at: number): string {
  return `${hm(at)}:${two(parts(at).second)}`
}

/** `09:34:02.4`; the tenth is cut, not rounded, so that the digit never runs ahead of the picture. */
export function hmsTenth(at: number): string {
  return `${hms(at)}.${Math.floor(parts(at).ms / 100)}`
}

/** `2026-09-15` */
export function isoDate(at: number): string {
  const p = parts(at)
  return `${p.year}-${two(p.month)}-${two(p.day)}`
}

/** `2026-09-15T09:34:02.000+08:00`, the form used in links. */
export function isoWall(at: number): string {
  return `${isoDate(at)}T${hms(at)}.${String(parts(at).ms).padStart(3, '0')}+08:00`
}

/** `9月15日`, `15 Sep` */
export function monthDay(at: number, lang: Lang): string {
  const p = parts(at)
  return lang === 'zh' ? `${p.month}月${p.day}日` : `${p.day} ${MONTHS_EN[p.month - 1]}`
}

/** `9月15日 09:34` */
export function monthDayTime(at: number, lang: Lang): string {
  return `${monthDay(at, lang)} ${hm(at)}`
}

/** `2026年9月15日（周二）`, `Tue 15 Sep 2026` */
export function fullDay(at: number, lang: Lang): string {
  const p = parts(at)
  return lang === 'zh'
    ? `${p.year}年${p.month}月${p.day}日（周${WEEKDAYS_ZH[p.weekday]}）`
    : `${WEEKDAYS_EN[p.weekday]} ${p.day} ${MONTHS_EN[p.month - 1]} ${p.year}`
}

/** A date string of the server (`2026-12-18`) for people; the year only when it is not `year`. */
export function dateText(date: string, lang: Lang, year?: number): string {
  const at = Date.parse(`${date}T00:00:00+08:00`)
  if (Number.isNaN(at)) return date
  const p = parts(at)
  const withYear = year === undefined || year !== p.year
  if (lang === 'zh') return `${withYear ? `${p.year}年` : ''}${p.month}月${p.day}日`
  return `${p.day} ${MONTHS_EN[p.month - 1]}${withYear ? ` ${p.year}` : ''}`
}

/** `09:33:10 – 09:34:51`; an open end says so. The day is added when the ends lie on two days. */
export function rangeText(from: number, to: number | null, lang: Lang): string {
  if (to === null) return `${hms(from)} – ${lang === 'zh' ? '现在' : 'now'}`
  if (isoDate(from) === isoDate(to)) return `${hms(from)} – ${hms(to)}`
  return `${monthDay(from, lang)} ${hms(from)} – ${monthDay(to, lang)} ${hms(to)}`
}

/** `1 分 41 秒`; below ten seconds one decimal, since a gap must never read as nothing. */
export function duration(ms: number, lang: Lang): string {
  const zh = lang === 'zh'
  if (ms < 10_000) return `${Math.max(0.1, Math.ceil(ms / 100) / 10).toFixed(1)} ${zh ? '秒' : 's'}`
  const total = Math.round(ms / 1000)
  const d = Math.floor(total / 86_400)
  const h = Math.floor((total % 86_400) / 3600)
  const m = Math.floor((total % 3600) / 60)
  const s = total % 60
  const out: string[] = []
  if (d) out.push(`${d} ${zh ? '天' : 'd'}`)
  if (h) out.push(`${h} ${zh ? '小时' : 'h'}`)
  if (m) out.push(`${m} ${zh ? '分' : 'min'}`)
  if (s && !d && !h) out.push(`${s} ${zh ? '秒' : 's'}`)
  return out.join(' ')
}

/** How long ago, in the coarsest honest unit. */
export function ago(at: number, now: number, lang: Lang): string {
  const ms = Math.max(0, now - at)
  const zh = lang === 'zh'
  if (ms < MINUTE) return zh ? `${Math.floor(ms / 1000)} 秒` : `${Math.floor(ms / 1000)} s`
  if (ms < HOUR) return zh ? `${Math.floor(ms / MINUTE)} 分` : `${Math.floor(ms / MINUTE)} min`
  if (ms < DAY) return zh ? `${Math.floor(ms / HOUR)} 小时` : `${Math.floor(ms / HOUR)} h`
  return zh ? `${Math.floor(ms / DAY)} 天` : `${Math.floor(ms / DAY)} d`
}

/** `+0.84 s`, with a true minus sign. */
export function offsetText(ms: number): string {
  const figure = (Math.abs(ms) / 1000).toFixed(2)
  // Nothing is neither ahead nor behind.
  const sign = Number(figure) === 0 ? '' : ms < 0 ? '−' : '+'
  return `${sign}${figure} s`
}

/**
 * Read an instant from a link or from the "go to time" box: an ISO instant, integer ms, a local
 * date with time, or a time of the day of `near`. Returns null when it is none of these.
 */
export function parseWall(text: string, near?: number): number | null {
  const clean = text.trim().replace(/：/g, ':')
  if (/^\d{12,14}$/.test(clean)) return Number(clean)
  // A "+" of a pasted link may have been read as a space.
  const iso = /^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)\s?(Z|[+ -]?\d{2}:\d{2})?$/.exec(clean)
  if (iso) {
    const [, date, time, zone] = iso
    const at = Date.parse(`${date}T${time}${zoneText(zone)}`)
    return Number.isNaN(at) ? null : at
  }
  return near === undefined ? null : timeOfDay(clean, near)
}

function zoneText(zone: string | undefined): string {
  if (!zone) return '+08:00'
  if (zone === 'Z' || zone.startsWith('+') || zone.startsWith('-')) return zone
  return `+${zone.trim()}`
}

function timeOfDay(text: string, near: number): number | null {
  const m = /^(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,3}))?)?$/.exec(text)
  if (!m) return null
  const [hour, minute, second] = [Number(m[1]), Number(m[2]), Number(m[3] ?? 0)]
  if (hour > 23 || minute > 59 || second > 59) return null
  const midnight = Date.parse(`${isoDate(near)}T00:00:00+08:00`)
  return midnight + hour * HOUR + minute * MINUTE + second * 1000 + Number((m[4] ?? '0').padEnd(3, '0'))
}

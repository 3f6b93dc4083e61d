/**
 * Wall time ↔ media time of one playlist.
 *
 * A playlist of ours has a PROGRAM-DATE-TIME per piece and a DISCONTINUITY over each hole; media
 * time is continuous, wall time is not. Only wall time is shown or kept; media time is derived.
 */
export interface Piece {
  /** Wall time of its first frame, ms. */
  wall: number
  /** Media time of its first frame, seconds. */
  media: number
  /** Seconds. */
  length: number
}

/** Slack at the end of a piece, ms: lengths are written with limited digits. */
const SLACK = 40

/** Media time of a wall time, or null when nothing is recorded there. Pieces are in order. */
export function toMedia(pieces: readonly Piece[], wall: number): number | null {
  let low = 0
  let high = pieces.length - 1
  while (low <= high) {
    const mid = (low + high) >> 1
    const p = pieces[mid]!
    if (wall < p.wall) high = mid - 1
    else if (wall >= p.wall + p.length * 1000) low = mid + 1
    else return p.media + (wall - p.wall) / 1000
  }
  const before = pieces[high]
  if (before && wall < before.wall + before.length * 1000 + SLACK) return before.media + before.length - 0.001
  const after = pieces[low]
  return after && wall >= after.wall - SLACK ? after.media : null
}

/** Wall time of a media time; null outside every piece. */
export function toWall(pieces: readonly Piece[], media: number): number | null {
  for (let i = pieces.length - 1; i >= 0; i--) {
    const p = pieces[i]!
    if (media >= p.media - 0.001) {
      return media <= p.media + p.length + 0.1 ? Math.round(p.wall + (media - p.media) * 1000) : null
    }
  }
  return null
}

export interface Correction {
  seek: boolean
  rate: number
}

const SEEK_OVER_S = 0.5
const NUDGE_OVER_S = 0.08
const NUDGE = 0.05

/** The master clock drives: far off → seek, a little off → 5 % faster or slower. Seconds. */
export function correct(target: number, actual: number, rate: number): Correction {
  const drift = target - actual
  if (Math.abs(drift) > SEEK_OVER_S * Math.max(1, rate)) return { seek: true, rate }
  if (Math.abs(drift) > NUDGE_OVER_S) return { seek: false, rate: rate * (drift > 0 ? 1 + NUDGE : 1 - NUDGE) }
  return { seek: false, rate }
}

export const BLOCK_MS = 30 * 60_000
const MARGIN_MS = 60_000

/**
 * The interval to ask a playlist for: half-hour blocks with a margin, inside what was registered.
 * Blocks keep the address stable while one seeks, so that a seek costs no new playlist.
 */
export function playlistWindow(at: number, allowed: { from_ms: number; to_ms: number }): { from_ms: number; to_ms: number } {
  const block = Math.floor(at / BLOCK_MS) * BLOCK_MS
  return {
    from_ms: Math.max(allowed.from_ms, block - MARGIN_MS),
    to_ms: Math.min(allowed.to_ms, block + BLOCK_MS + MARGIN_MS),
  }
}

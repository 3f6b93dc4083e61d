/** The calls of the contract, one line each. */
import { address, get, post, put } from './client'
import type {
  Case,
  CasePage,
  CaseTimeline,
  Device,
  Item,
  Material,
  Me,
  Person,
  Place,
  Register,
  Retrieval,
  RetrievalRequest,
  Stream,
  Why,
} from './types'

const id = encodeURIComponent

export const api = {
  login: (username: string, password: string) => post<Me>('/login', { username, password }),
  logout: () => post<void>('/logout'),
  me: () => get<Me>('/me'),
  password: (old: string, next: string) => post<void>('/password', { old, new: next }),

  places: () => get<Place[]>('/places'),
  persons: () => get<Person[]>('/persons'),
  devices: () => get<Device[]>('/devices'),
  streams: () => get<Stream[]>('/live/streams'),

  items: () => get<Item[]>('/items'),
  cases: (q: { q?: string; state?: string; mine?: boolean; page?: number }) => get<CasePage>('/cases', q),
  openCase: (item: string, applicant: string, place: string) => post<Case>('/cases', { item, applicant, place }),
  case: (no: string) => get<Case>(`/cases/${id(no)}`),
  start: (no: string, seq: number, place: string) => post<Case>(`/cases/${id(no)}/steps/${seq}/start`, { place }),
  draft: (no: string, seq: number, values: Record<string, string>, revision: number) =>
    put<Case>(`/cases/${id(no)}/steps/${seq}/draft`, { values, revision }),
  finish: (no: string, seq: number, values: Record<string, string>, revision: number) =>
    post<Case>(`/cases/${id(no)}/steps/${seq}/finish`, { values, revision }),
  material: (no: string, code: string, state: Material['state'], note: string, revision: number) =>
    put<Case>(`/cases/${id(no)}/materials/${id(code)}`, { state, note, revision }),
  suspend: (no: string, reason: string, notice: string, revision: number) =>
    post<Case>(`/cases/${id(no)}/suspend`, { reason, notice_no: notice, revision }),
  resume: (no: string) => post<Case>(`/cases/${id(no)}/resume`),
  why: (no: string, clock: string) => get<Why>(`/cases/${id(no)}/clocks/${id(clock)}/why`),

  retrieve: (no: string, request: RetrievalRequest) => post<Retrieval>(`/cases/${id(no)}/retrievals`, request),
  register: (month: string, page: number) => get<Register>('/retrievals', { month, page }),
  timeline: (no: string, from: number, to: number, retrieval?: string) =>
    get<CaseTimeline>(`/cases/${id(no)}/timeline`, { from_ms: from, to_ms: to, retrieval }),
  playlist: (retrieval: string, stream: string, from: number, to: number) =>
    address(`/replay/${id(retrieval)}/${id(stream)}/index.m3u8`, { from_ms: from, to_ms: to }),
}

/** Short names for the bodies of the contract. `schema.d.ts` is made by `npm run api`. */
import type { components } from './schema'

type S = components['schemas']

export type Me = S['Me']
export type PageName = Me['pages'][number]
export type Role = Me['role']
export type Place = S['Place']
export type Person = S['PersonRef']
export type Stream = S['Stream']
export type Device = S['Device']
export type Health = Device['health']
export type Item = S['Item']
export type Case = S['Case']
export type CaseRow = S['CaseRow']
export type CasePage = S['CasePage']
export type CaseState = Case['state']
export type CaseEvent = S['CaseEvent']
export type Due = S['Due']
export type DayCell = S['DayCell']
export type Why = S['Why']
export type Material = S['Material']
export type FormField = S['FormField']
export type Guard = S['Guard']
export type Step = S['Step']
export type StepLink = S['StepLink']
export type StepLinkStream = S['StepLinkStream']
export type GapOut = S['GapOut']
export type Retrieval = S['Retrieval']
export type RetrievalRequest = S['RetrievalRequest']
export type StreamLane = S['StreamLane']
export type PresenceLane = S['PresenceLane']
export type PunchMark = S['PunchMark']
export type CaseTimeline = S['CaseTimeline']
export type Register = S['Register']

/** Body of every error. */
export interface Problem {
  code: string
  message: string
  message_en: string
  field?: string
  article?: string
  action?: string
  guards?: Guard[]
}

/** A message of the WebSocket, which OpenAPI does not describe. */
export interface Message {
  seq: number
  kind: 'hello' | 'case' | 'device' | 'punch' | 'presence' | 'link' | 'heartbeat'
  at_ms: number
  data: Record<string, unknown>
}

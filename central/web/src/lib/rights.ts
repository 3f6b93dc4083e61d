/** What the page offers to whom. The server decides; this only spares people a button that is refused. */
import type { Me } from '../api/types'

/** Recorded footage is opened by inspectors alone, each time with a reason. */
export const mayRetrieve = (me: Pick<Me, 'role'>): boolean => me.role === 'inspector'

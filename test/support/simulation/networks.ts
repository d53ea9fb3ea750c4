/** Networks by name, for experiments and tests. */
import { type Conditions, healthy, rough } from "./network.ts"
import { always, exponential, uniform } from "./random.ts"

/** A near store whose announcements arrive with this delay. */
const late = (millis: number) => (): Conditions => ({ ...healthy(), announcementDelay: always(millis) })

/** Each call returns new conditions, which a simulation may change. */
export const networks = {
  near: healthy,
  "1 ms": late(1),
  "40 ms": late(40),
  "100 ms": late(100),
  "300 ms": late(300),
  /** The process asks for announcements once a second. */
  polled: (): Conditions => ({ ...healthy(), poll: 1_000 }),
  /** No announcement ever arrives. */
  none: (): Conditions => ({ ...healthy(), loseAnnouncement: 1 }),
  /** Half of the announcements get lost, and the others arrive at random times. */
  lossy: (): Conditions => ({ ...healthy(), announcementDelay: exponential(20), loseAnnouncement: 0.5 }),
  /** A store in another region: 40 to 50 ms each way, for everything. */
  far: (): Conditions => ({ ...healthy(), delay: uniform(40, 50), announcementDelay: uniform(40, 50) }),
  /** Every fault happens from time to time. */
  rough
} satisfies Record<string, () => Conditions>

export type NetworkName = keyof typeof networks

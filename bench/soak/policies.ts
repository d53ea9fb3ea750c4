/** The policies of the soak. Their times are short, so that many transitions happen. */
import { Schedule } from "effect"
import { BreakerPolicy, Trip } from "effect-fuse"
import type { Name } from "./lines.ts"

export const syncMillis = 1_000

/** The timeout of the protected effect, and so the maximum duration of a probe. */
export const callTimeoutMillis = 400

export const probes: Readonly<Record<Name, number>> = { orders: 1, search: 2 }

export const probeTimeoutMillis: Readonly<Record<Name, number>> = { orders: 1_000, search: 300 }

/** The maximum length of an opening. */
export const longestOpeningMillis = 4_000

export const policies = BreakerPolicy.layer({
  breakers: {
    orders: {
      cooldown: Schedule.exponential("500 millis"),
      maxCooldown: longestOpeningMillis,
      probeTimeout: probeTimeoutMillis.orders
    },
    search: {
      trip: Trip.any(Trip.consecutive(4), Trip.slowRate({ threshold: 0.5, minimumCalls: 10, over: 20 })),
      slowCall: "200 millis",
      cooldown: "1 second",
      probes: probes.search,
      successesToClose: 3,
      probeTimeout: probeTimeoutMillis.search,
      ramp: "500 millis"
    }
  }
})

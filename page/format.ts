/** A time of day in the time zone of the browser, such as `14:03:22`. */
export const clock = (at: number): string => new Date(at).toLocaleTimeString("en-GB")

/** A time of day, with the date if it is another day: `14:03:22`, `29 Nov, 14:03:22`. */
export const dayAndClock = (at: number, now: number): string => {
  const date = new Date(at)
  if (date.toDateString() === new Date(now).toDateString()) return clock(at)
  return `${date.toLocaleDateString("en-GB", { day: "numeric", month: "short" })}, ${clock(at)}`
}

/** A rate, with one decimal if it is below 10: `0.4`, `12`, `1,300`. */
export const rate = (perSecond: number): string =>
  perSecond === 0 ? "0" : perSecond < 10 ? perSecond.toFixed(1) : Math.round(perSecond).toLocaleString("en-US")

export const percent = (share: number): string => (share > 0 && share < 0.01 ? "<1 %" : `${Math.round(share * 100)} %`)

/** The duration of a call: `8 ms`, `1.2 s`. */
export const took = (millis: number): string =>
  millis < 1_000 ? `${Math.round(millis)} ms` : `${(millis / 1_000).toFixed(1)} s`

export const count = (n: number, one: string, many = `${one}s`): string =>
  `${n.toLocaleString("en-US")} ${n === 1 ? one : many}`

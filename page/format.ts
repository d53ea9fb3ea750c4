/** Texts, numbers and times as the page writes them. */

/** A name or a key with its control and invisible characters visible, which could make it look like another one. */
export const shown = (text: string): string =>
  text.replaceAll(
    /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu,
    (char) => `\\u${(char.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`
  )

/** A duration as a person says it: `8 s`, `2 min 5 s`, `3 h 12 min`, `2 d 4 h`. */
export const duration = (millis: number): string => {
  const seconds = Math.max(0, Math.floor(millis / 1_000))
  const [minutes, hours, days] = [60, 3_600, 86_400].map((unit) => Math.floor(seconds / unit)) as [
    number,
    number,
    number
  ]
  if (days > 0) return `${days} d ${hours % 24} h`
  if (hours > 0) return `${hours} h ${minutes % 60} min`
  if (minutes > 0) return `${minutes} min ${seconds % 60} s`
  return `${seconds} s`
}

/** A time of day in the time zone of the browser, such as `14:03:22`. */
export const clock = (at: number): string => new Date(at).toLocaleTimeString("en-GB")

/** A rate with as many digits as matter: `0.4`, `12`, `1,300`. */
export const rate = (perSecond: number): string =>
  perSecond === 0 ? "0" : perSecond < 10 ? perSecond.toFixed(1) : Math.round(perSecond).toLocaleString("en-US")

export const percent = (share: number): string => (share > 0 && share < 0.01 ? "<1 %" : `${Math.round(share * 100)} %`)

/** Milliseconds of a call: `8 ms`, `1.2 s`. */
export const took = (millis: number): string =>
  millis < 1_000 ? `${Math.round(millis)} ms` : `${(millis / 1_000).toFixed(1)} s`

export const count = (n: number, one: string, many = `${one}s`): string =>
  `${n.toLocaleString("en-US")} ${n === 1 ? one : many}`

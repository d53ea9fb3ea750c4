import { assert, describe, it } from "@effect/vitest"
import { Arbitrary } from "effect"
import { RetryAfter } from "effect-fuse/http"
import { either, number, oneOf, runs, text } from "./support/garbage.ts"

const now = Date.parse("2025-03-01T00:00:00Z")
const day = 86_400_000

describe("Retry-After is read as servers write it:", () => {
  const readings: ReadonlyArray<readonly [value: string, millis: number | undefined]> = [
    ["120", 120_000],
    [" 120 ", 120_000],
    ["0", 0],
    ["90.5", 90_500],
    ["0.25", 250],
    ["120, 60", 120_000],
    ["60,120", 120_000],
    ["soon, 60", 60_000],
    ["60s", 60_000],
    ["250ms", 250],
    ["1.25s", 1_250],
    ["6m0s", 360_000],
    ["1h0m1.5s", 3_601_500],
    ["Sat, 01 Mar 2025 00:02:00 GMT", 120_000],
    ["Sat, 1 Mar 2025 00:02:00 GMT", 120_000],
    ["Sat, 01 Mar 2025 00:02:00 UTC", 120_000],
    ["Sat, 01 Mar 2025 01:02:00 +0100", 120_000],
    ["sat, 01 mar 2025 00:02:00 gmt", 120_000],
    ["Saturday, 01-Mar-25 00:02:00 GMT", 120_000],
    ["Saturday, 1-Mar-25 00:02:00 GMT", 120_000],
    ["Sat Mar  1 00:02:00 2025", 120_000],
    ["Sat Mar 1 00:02:00 2025", 120_000],
    ["Sat Mar 01 00:02:00 2025", 120_000],
    ["Sat, 01 Mar 2025 00:02:00 GMT, Sat, 01 Mar 2025 00:03:00 GMT", 180_000],
    ["2025-03-01T00:02:00Z", 120_000],
    ["2025-03-01T01:02:00.500+01:00", 120_500],
    ["999999999", day],
    ["1000000000", 0],
    ["100000000000", 0],
    ["1740787320", 120_000],
    ["1740787320000", 120_000],
    ["Thu, 01 Jan 1970 00:00:00 GMT", 0],
    ["100000000", day],
    ["99999999999999999999", day],
    ["Fri, 31 Dec 9999 23:59:59 GMT", day],
    [`${"60,".repeat(85)}1`, 60_000],
    [`${"60,".repeat(85)}12`, undefined],
    ["9".repeat(400), undefined],
    ["-5", undefined],
    ["+5", undefined],
    ["1e3", undefined],
    ["0x10", undefined],
    ["Infinity", undefined],
    ["NaN", undefined],
    ["", undefined],
    ["1.", undefined],
    ["1.2.3s", undefined],
    ["soon", undefined],
    ["in 60s", undefined],
    ["60s or so", undefined],
    ...[
      "Sat, 01 Mar 2025 00:02:00 GMT",
      "Saturday, 01-Mar-25 00:02:00 GMT",
      "Sat Mar  1 00:02:00 2025",
      "2025-03-01T00:02:00Z"
    ].flatMap((date) => [[`after ${date}`, undefined] as const, [`${date} (or so)`, undefined] as const]),
    ["Sat, 99 Mar 2025 99:99:99 GMT", undefined]
  ]
  for (const [value, millis] of readings) {
    it(`${JSON.stringify(value).slice(0, 80)} is ${millis === undefined ? "unreadable" : `${millis} ms`}`, () => {
      assert.strictEqual(RetryAfter.parse({ "retry-after": value }, now), millis)
      assert.strictEqual(RetryAfter.parse(new Headers({ "retry-after": value }), now), millis)
    })
  }

  it("a date without a time zone means GMT, in every time zone of this process", () => {
    const { TZ } = process.env
    try {
      process.env["TZ"] = "America/New_York"
      assert.strictEqual(RetryAfter.parse({ "retry-after": "Sat Mar  1 00:02:00 2025" }, now), 120_000)
    } finally {
      if (TZ === undefined) delete process.env["TZ"]
      else process.env["TZ"] = TZ
    }
  })

  it("a date is compared with the server's own clock, also one in seconds since 1970", () => {
    const date = "Sat, 01 Mar 2025 00:00:00 GMT"
    for (const value of ["Sat, 01 Mar 2025 00:02:00 GMT", "2025-03-01T00:02:00Z", "1740787320"]) {
      assert.strictEqual(RetryAfter.parse({ "retry-after": value, date }, 0), 120_000, value)
    }
  })
})

describe("other headers with a retry time are read, too:", () => {
  const readings: ReadonlyArray<
    readonly [headers: Record<string, string>, millis: number | undefined, status?: number]
  > = [
    [{ "retry-after-ms": "1500" }, 1_500],
    [{ "retry-after-ms": "1500.5", "retry-after": "60" }, 1_500.5],
    [{ "retry-after-ms": "soon", "retry-after": "60" }, 60_000],
    [{ "x-ms-retry-after-ms": "250" }, 250],
    [{ "retry-after": "5", "x-ratelimit-reset": "60" }, 5_000],
    [{ ratelimit: "limit=100, remaining=0, reset=50" }, 50_000],
    [{ ratelimit: "limit=100, remaining=1, reset=50" }, undefined],
    [{ ratelimit: '"default";r=0;t=50' }, 50_000],
    [{ ratelimit: "limit=100, remaining=0, reset=50.25" }, 50_250],
    [{ ratelimit: '"burst";r=0;t=5, "daily";r=0;t=70' }, 70_000],
    [{ ratelimit: '"burst";r=0;t=5, "daily";r=9;t=70' }, 5_000],
    [{ ratelimit: '"default";t=50' }, 50_000, 429],
    [{ ratelimit: '"default";t=50' }, undefined, 503],
    [{ ratelimit: '"default";r=9;t=50' }, undefined, 429],
    [{ ratelimit: "nonsense" }, undefined],
    [{ "ratelimit-remaining": "0", "ratelimit-reset": "30" }, 30_000],
    [{ "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1740787320" }, 120_000],
    [{ "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1740787320000" }, 120_000],
    [{ "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1740787320.5" }, 120_500],
    [{ "x-ratelimit-remaining": "0", "x-ratelimit-reset": "30" }, 30_000],
    [{ "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1740787320", "x-ratelimit-reset-after": "1.25" }, 1_250],
    [{ "x-rate-limit-remaining": "0", "x-rate-limit-reset": "1740787320" }, 120_000],
    [{ "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s" }, 360_000],
    [
      {
        "x-ratelimit-remaining-requests": "7",
        "x-ratelimit-reset-requests": "6m0s",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "120ms"
      },
      120
    ],
    [
      {
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": "2025-03-01T00:02:00Z"
      },
      120_000
    ],
    [
      {
        "anthropic-ratelimit-tokens-remaining": "0",
        "anthropic-ratelimit-tokens-reset": "2025-03-01T00:03:00Z"
      },
      180_000
    ],
    // Sent with every response: no reason to wait while something remains.
    [{ "x-ratelimit-remaining": "57", "x-ratelimit-reset": "2400" }, undefined, 503],
    [{ "x-ratelimit-remaining": "57", "x-ratelimit-reset": "2400" }, undefined, 429],
    [{ "x-ratelimit-reset": "60" }, 60_000],
    [{ "x-ratelimit-reset": "60" }, 60_000, 429],
    [{ "x-ratelimit-reset": "60" }, undefined, 503],
    [{ "x-ratelimit-remaining": "0", "x-ratelimit-reset": "60" }, 60_000, 503],
    [{}, undefined]
  ]
  for (const [headers, millis, status] of readings) {
    it(`${JSON.stringify(headers)}${status === undefined ? "" : ` with ${status}`} is ${millis}`, () => {
      assert.strictEqual(RetryAfter.parse(headers, now, status), millis)
      assert.strictEqual(RetryAfter.parse(new Headers(headers), now, status), millis)
    })
  }
})

describe("headers of any making", () => {
  const names = [
    "retry-after",
    "retry-after-ms",
    "x-ms-retry-after-ms",
    "ratelimit",
    "ratelimit-reset",
    "x-ratelimit-reset",
    "x-ratelimit-remaining",
    "date"
  ]
  const digits = Arbitrary.map(number, (n) => String(Math.abs(n)))
  it.prop(
    "give a wait from nothing to a day, or none",
    [oneOf(names), oneOf(names), either(text, digits), either(text, digits), oneOf([undefined, 429, 503, Number.NaN])],
    ([one, other, value, another, status]) => {
      const millis = RetryAfter.parse({ [one]: value, [other]: another }, now, status)
      if (millis !== undefined) assert.isTrue(millis >= 0 && millis <= day, String(millis))
    },
    runs("any-headers", 2_000)
  )

  it("may be in any case, and may be lists, as some clients keep them", () => {
    for (const headers of [
      { "Retry-After": "60" },
      { "RETRY-AFTER": 60 },
      { "retry-after": ["60", "5"] },
      { "Retry-After-Ms": ["60000"] },
      { "retry-after-ms": " 60000 " }
    ]) {
      assert.strictEqual(RetryAfter.parse(headers, now), 60_000)
    }
    assert.strictEqual(RetryAfter.parse({ "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "60" }, now, 429), 60_000)
  })

  it("never make it throw", () => {
    const hostile = new Proxy(
      {},
      {
        get: () => {
          throw new Error("no")
        }
      }
    )
    const odd: ReadonlyArray<unknown> = [
      null,
      undefined,
      7,
      "text",
      [],
      { "retry-after": {} },
      { "retry-after": [{}] },
      { "retry-after": Symbol("60") },
      { get: () => ({}) },
      {
        get: () => {
          throw new Error("no")
        }
      },
      hostile
    ]
    for (const headers of odd) assert.strictEqual(RetryAfter.parse(headers as never, now), undefined)
    assert.strictEqual(RetryAfter.parse({ "retry-after": 60 as never }, now), 60_000)
    assert.strictEqual(RetryAfter.parse({ "retry-after": "Sat, 01 Mar 2025 00:02:00 GMT" }, Number.NaN), undefined)
  })
})

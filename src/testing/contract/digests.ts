import * as Effect from "effect/Effect"
import { limits } from "../../store/SharedStore.ts"
import { type Bench, castOf, equal, long, short, swapOf, type Trial, trial } from "./bench.ts"

const printableAscii = Array.from({ length: 95 }, (_, index) => String.fromCharCode(32 + index)).join("")

const readDigest = (bench: Bench, voter: string) => Effect.map(bench.digests, (digests) => digests.get(voter))

export const digests: ReadonlyArray<Trial> = [
  trial("the digest of a live voter is returned until another one replaces it", function* (bench) {
    const [one, other, none] = [bench.voter("one"), bench.voter("other"), bench.voter("none")]
    yield* bench.join(none)
    yield* bench.done({ voter: one, ttl: long, digest: "first" })
    yield* bench.done({ voter: other, ttl: long, digest: "of another" })
    yield* equal(yield* readDigest(bench, one), "first", "the digest")
    yield* bench.done({ voter: one, ttl: long })
    yield* equal(yield* readDigest(bench, one), "first", "the digest after an exchange without one")
    yield* bench.done({ voter: one, ttl: long, digest: "second" })
    const found = yield* bench.digests
    yield* equal(found.get(one), "second", "the digest after an exchange with another one")
    yield* equal(found.get(other), "of another", "the digest of another voter")
    yield* equal(found.has(none), false, "whether a voter that sent no digest has one")
  }),

  trial("an exchange with casts and swaps carries a digest, too", function* (bench) {
    const voter = bench.voter("voter")
    const casts = [castOf(bench.name("circuit"))]
    const swaps = [swapOf(bench.name("circuit"))]
    yield* bench.done({ voter, ttl: long, digest: "first", casts, swaps })
    yield* equal(yield* readDigest(bench, voter), "first", "the digest")
    yield* bench.done({ voter, ttl: long, casts })
    yield* equal(yield* readDigest(bench, voter), "first", "the digest after a cast without one")
    yield* bench.done({ voter, ttl: long, digest: "second", casts })
    yield* equal(yield* readDigest(bench, voter), "second", "the digest after a cast with another one")
  }),

  trial("a digest that comes after the deadline is dropped", function* (bench) {
    const voter = bench.voter("voter")
    yield* bench.done({ voter, ttl: long, digest: "first" })
    yield* bench.exchange({ voter, ttl: long, digest: "second", notAfter: 0 })
    yield* equal(yield* readDigest(bench, voter), "first", "the digest")
  }),

  trial("a digest ends with the life of its voter", function* (bench) {
    const [leaves, expires] = [bench.voter("leaves"), bench.voter("expires")]
    yield* bench.done({ voter: leaves, ttl: long, digest: "leaves" })
    yield* bench.done({ voter: expires, ttl: short, digest: "expires" })
    yield* bench.leave(leaves)
    yield* equal(yield* readDigest(bench, leaves), undefined, "the digest of a voter that left")
    yield* bench.until(readDigest(bench, expires), (one) => one === undefined, "no digest of a voter that expired")
    for (const voter of [leaves, expires]) {
      yield* bench.join(voter)
      yield* equal(yield* readDigest(bench, voter), undefined, "the earlier digest of a voter that lives again")
      yield* bench.done({ voter, ttl: long, casts: [castOf(bench.name("circuit"))] })
      yield* equal(yield* readDigest(bench, voter), undefined, "its earlier digest after a cast")
    }
  }),

  trial("a digest may have 8,192 characters of printable ASCII", function* (bench) {
    const voter = bench.voter("voter")
    const longest = printableAscii.repeat(100).slice(0, limits.digest)
    for (const digest of [longest, "  spaces  ", printableAscii]) {
      yield* bench.done({ voter, ttl: long, digest })
      yield* equal(yield* readDigest(bench, voter), digest, "the digest")
    }
  }),

  trial("the answers together have the digests of all live voters", function* (bench) {
    // Some stores return many short digests in one answer.
    const digestOf = (voter: string) => `of ${voter}`.padEnd(300, ".")
    const voters = Array.from({ length: 3 * limits.digests + 7 }, (_, index) => bench.voter(`voter-${index}`))
    yield* Effect.forEach(voters, (voter) => bench.done({ voter, ttl: long, digest: digestOf(voter) }), {
      concurrency: 8,
      discard: true
    })
    const found = yield* bench.digests
    yield* equal(
      voters.map((voter) => found.get(voter)),
      voters.map((voter) => digestOf(voter)),
      "the digests"
    )
  })
]

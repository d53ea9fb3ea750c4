import { existsSync, readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Simulator from "effect-fuse/Simulator"
import { labelOf, limit } from "../bench/simulate/limit.ts"
import { judgeLimit, limitBars, limitLines } from "../bench/simulate/limitBars.ts"
import { briefPicture, pictureOf, playScenario, results } from "../bench/simulate/scenarios.ts"

/** The scenarios that `npm test` plays. The others are played by `npm run test:long`. */
const quick: ReadonlyArray<Simulator.ScenarioName> = ["brownout", "limping-replica"]
const rewrite = "write them with: npm run scenarios"

describe("a scenario", () => {
  for (const name of Simulator.scenarioNames) {
    const tags = quick.includes(name) ? [] : ["long"]
    it(`${name} gives the committed figures and the committed picture`, { tags }, async () => {
      const { brief, figures, svg } = await playScenario(name)
      assert.deepStrictEqual(figures, JSON.parse(readFileSync(results, "utf8"))[name], rewrite)
      assert.isTrue(svg === readFileSync(pictureOf(name), "utf8"), rewrite)
      if (brief !== undefined) assert.isTrue(brief === readFileSync(briefPicture, "utf8"), rewrite)
    })
  }

  it("has a picture on the page of scenarios, with two sentences or more", () => {
    const page = readFileSync(new URL("../docs/scenarios.md", import.meta.url), "utf8")
    for (const name of Simulator.scenarioNames) {
      assert.isTrue(existsSync(pictureOf(name)), name)
      assert.match(
        page,
        new RegExp(`## ${name}\\n\\n!\\[[^\\]]+\\]\\(scenarios/${name}\\.svg\\)\\n\\n[^#]+\\. [^#]+\\.\\n`)
      )
    }
  })

  it("can be changed, and gives other figures with another seed", async () => {
    const { protections, ...usual } = Simulator.scenario("brownout")
    const scenario = { ...usual, for: 30_000, protections: { none: {}, breaker: protections.breaker ?? {} } }
    const play = (seed: number) => Effect.runPromise(Simulator.compare(scenario, { seed }))
    const [one, again, other] = [await play(1), await play(1), await play(2)]
    assert.deepStrictEqual(
      one.map(({ policy }) => policy),
      ["none", "breaker"]
    )
    assert.deepStrictEqual(again, one)
    assert.notDeepEqual(other, one)
  })

  it("that does not exist is refused by name", () => {
    assert.throws(() => Simulator.scenario("blackout" as Simulator.ScenarioName), /Simulator.scenario: name: expected/)
  })
})

describe("a picture of a scenario", () => {
  const picture = (name: Simulator.ScenarioName) => readFileSync(pictureOf(name), "utf8")

  it.each(Simulator.scenarioNames)(
    "of %s has a title, axes with units, and a legend for every kind of area",
    (name) => {
      const svg = picture(name)
      assert.include(svg, `<title>${Simulator.scenario(name).title}</title>`)
      assert.match(svg, />calls per second<\/text>/)
      assert.match(svg, />time \(s\)<\/text>/)
      const drawn = new Set(
        Array.from(
          svg.matchAll(/<path class="(\w+)" d="[^"]*"><title>([^<]+)</g),
          ([, kind, words]) => `${kind} ${words}`
        )
      )
      assert.isAbove(drawn.size, 2)
      for (const one of drawn) {
        const [, kind, words] = /^(\w+) (.+)$/.exec(one) ?? []
        assert.match(svg, new RegExp(`<path class="${kind}" d="[^"]*"/>\\n<text[^>]*>${words}</text>`), one)
      }
      assert.notMatch(svg, /NaN|undefined|Infinity/)
    }
  )

  it("has a different colour for every kind of area, and other colours on a dark page", () => {
    const svg = picture("brownout")
    const [light = "", dark = ""] = svg.split("@media (prefers-color-scheme:dark)")
    const colours = (css: string) =>
      new Map(
        Array.from(
          css.matchAll(/\.(answered|slow|failed|rejected|Closed|Limited|HalfOpen|Open)\{fill:(#\w+)\}/g),
          ([, kind, colour]) => [kind, colour]
        )
      )
    for (const found of [colours(light), colours(dark)]) assert.strictEqual(new Set(found.values()).size, 8)
    assert.notDeepEqual(colours(light), colours(dark))
  })
})

describe("the picture of the page about choosing a policy", () => {
  it("is what its command draws, with the policies of the page", async () => {
    const read = (file: string) => readFileSync(new URL(`../docs/${file}`, import.meta.url), "utf8")
    const policies = JSON.parse(/```json\n([\s\S]+?)```/.exec(read("tuning.md"))?.[1] ?? "{}")
    // simulate --rate 20 --errors 0.02 --outage 30s+20s
    const outages = [{ at: "30 seconds", for: "20 seconds" }] as const
    const calls = Simulator.load({ rate: 20, errors: 0.02, for: "2 minutes", outages })
    const svg = Simulator.toSvg(await Effect.runPromise(Simulator.run(calls, policies)))
    assert.isTrue(svg === read("simulated.svg").trim())
  })
})

describe("the bars of the limit", () => {
  const bars = [
    "brown50, slow50 x1, x3",
    "brown50, slow50 x1, x3: settled",
    "metastable x3",
    "metastable x3: no protection gives nothing"
  ]

  it("are met by the engine in a short run", () => {
    const labels = [labelOf("brown50", 3), labelOf("metastable", 3)]
    const found = Object.fromEntries(
      limit.cases
        .filter(({ label }) => labels.includes(label))
        .map(({ label, run }) => [label, run({ seed: 1, quick: true })])
    )
    const chosen = limitBars
      .filter(({ bar }) => bars.includes(bar))
      .map((bar) => ({ ...bar, labels: bar.labels.filter((label) => labels.includes(label)) }))
    const judged = judgeLimit(found, chosen)
    assert.deepStrictEqual(
      judged.map(({ bar, met }) => [bar, met]),
      bars.map((bar) => [bar, true])
    )
  })

  it("name cases of the experiment, and a bar without its figure is missed", () => {
    const known = limit.cases.map(({ label }) => label)
    for (const { labels } of limitBars) for (const label of labels) assert.include(known, label)
    const [judged] = judgeLimit({}, [{ bar: "it", figure: "share", least: 0, labels: ["none"] }])
    assert.strictEqual(judged?.met, false)
    assert.match(limitLines(judged === undefined ? [] : [judged]).join(), /^MISSED +>= 0 +- +it +none$/)
  })
})

/**
 * `DynamoStore` in virtual time: each process has its own store on one table. Requests take time, so the requests of concurrent exchanges
 * interleave. The code of the emulator evaluates the conditions.
 */
import { createRequire } from "node:module"
import { Effect, Random, Stream } from "effect"
import type { SharedStore } from "effect-fuse"
import { type DynamoTable, type Item, RequestError } from "../../../src/dynamo/client.ts"
import { ServerClock } from "../../../src/dynamo/serverClock.ts"
import { storeOn } from "../../../src/dynamo/store.ts"
import type { Backend, MakeBackend } from "./backend.ts"
import { Chance, sometimes, uniform } from "./random.ts"

const require = createRequire(import.meta.url)
const emulator: { readonly checkConditional: (input: object, item: Item | undefined) => object | undefined } =
  require("dynalite/db")
const expressions: { readonly validateExpressions: (input: object) => string | undefined } =
  require("dynalite/validations")

/** A request, or its answer, is in transit for this time in milliseconds. */
const way = sometimes(0.02, uniform(5, 60), uniform(0.2, 2))

interface Input extends Readonly<Record<string, unknown>> {
  readonly Key: Item
  readonly Item: Item
  readonly IndexName?: string
  readonly Limit?: number
  readonly ExpressionAttributeValues: Readonly<Record<string, { readonly S?: string; readonly N?: string }>>
  readonly RequestItems: Readonly<Record<string, { readonly Keys: ReadonlyArray<Item> }>>
}

/** The emulator parses an update expression into these parts. */
interface Section {
  readonly type: "set" | "remove"
  readonly path: ReadonlyArray<string>
  readonly val: Item[string]
}

const textIn = (item: Item | undefined, name: string): string => (item?.[name] as { S?: string } | undefined)?.S ?? ""
const numberIn = (item: Item, name: string): number =>
  Number((item[name] as { N?: string } | undefined)?.N ?? Number.NaN)

/** Makes a table in memory. The table has no delays. */
export class Table {
  readonly items = new Map<string, Item>()
  /** The maximum size of an item after an update. */
  mostBytes = Infinity

  readonly send = (kind: string, input: object): Effect.Effect<object, RequestError> =>
    Effect.try({ try: () => this.carryOut(kind, input), catch: (cause) => new RequestError({ cause }) })

  carryOut(kind: string, input: object): object {
    const read = structuredClone(input) as Input & { readonly _updates?: { readonly sections: ReadonlyArray<Section> } }
    const problem = kind === "BatchGetItem" ? undefined : expressions.validateExpressions(read)
    if (problem !== undefined) throw new Error(problem)
    const sk = textIn(read.Key ?? read.Item, "sk")
    const item = this.items.get(sk)
    switch (kind) {
      case "GetItem":
        return { Item: structuredClone(item) }
      case "BatchGetItem":
        return {
          Responses: Object.fromEntries(
            Object.entries(read.RequestItems).map(([table, { Keys }]) => [
              table,
              Keys.map((key) => structuredClone(this.items.get(textIn(key, "sk")))).filter(
                (found) => found !== undefined
              )
            ])
          )
        }
      case "PutItem":
        this.check(read, item)
        this.items.set(sk, read.Item)
        return {}
      case "UpdateItem":
        this.check(read, item)
        return { Attributes: structuredClone(this.update(read.Key, item, read._updates?.sections ?? [])) }
      default:
        return { Items: this.query(read) }
    }
  }

  private check(input: object, item: Item | undefined): void {
    if (emulator.checkConditional(input, item) === null) return
    throw Object.assign(new Error("the condition does not hold"), { name: "ConditionalCheckFailedException" })
  }

  private update(key: Item, before: Item | undefined, sections: ReadonlyArray<Section>): Item {
    const item: Record<string, unknown> = structuredClone(before ?? key)
    for (const { path, type, val } of sections) {
      const [first = "", second] = path
      const of = second === undefined ? item : (item[first] as { M: Record<string, unknown> }).M
      if (type === "remove") delete of[second ?? first]
      else of[second ?? first] = val
    }
    if (this.mostBytes !== Infinity && JSON.stringify(item).length > this.mostBytes) {
      throw Object.assign(new Error("the item is too large"), { name: "ValidationException" })
    }
    this.items.set(textIn(key, "sk"), item as Item)
    return item as Item
  }

  private query({ ExpressionAttributeValues: values, IndexName, Limit = Infinity }: Input): ReadonlyArray<Item> {
    const [from, to] = [values[":from"], values[":to"]]
    const order = (item: Item) => (IndexName === undefined ? textIn(item, "sk") : numberIn(item, "e"))
    const bound = (value: { readonly S?: string; readonly N?: string } | undefined) =>
      IndexName === undefined ? (value?.S ?? "") : Number(value?.N)
    const time = values[":time"]
    return structuredClone(
      [...this.items.values()]
        .filter((item) => order(item) >= bound(from) && order(item) <= bound(to))
        .sort((a, b) => (order(a) < order(b) ? -1 : 1))
        .slice(0, Limit)
        .filter((item) => time === undefined || numberIn(item, "end") > Number(time.N))
    )
  }
}

/** Makes a store on a table in memory. `now` is the clock of its process. */
export const tableStore = (
  send: (kind: string, input: object) => Effect.Effect<object, RequestError>,
  now: () => number,
  newLife?: () => string
): SharedStore.SharedStore =>
  storeOn(
    // The answer type of `send` depends on the kind of request.
    {
      name: "table",
      prefix: "fleet",
      send: send as DynamoTable["send"],
      clock: new ServerClock(now),
      attempts: { trouble: undefined }
    },
    1_000,
    newLife
  )

export interface Wrong {
  /** Changes the input of each request. */
  readonly rewrite?: (kind: string, input: object) => object
}

export const dynamoStore =
  ({ rewrite = (_, input) => input }: Wrong = {}): MakeBackend =>
  ({ clock, publish, run, seed }): Backend => {
    const chance = new Chance(seed)
    const table = new Table()
    let lives = 0
    const storeWith = (takesTime: boolean): SharedStore.SharedStore => {
      const wait = Effect.suspend(() => (takesTime ? Effect.sleep(way(chance)) : Effect.void))
      const send = (kind: string, input: object) =>
        Effect.andThen(
          wait,
          Effect.tap(
            Effect.suspend(() => {
              // If the write of an item fails, the next turn writes the item.
              if (takesTime && chance.happens(kind === "PutItem" ? 0.05 : 0.005)) {
                return Effect.fail(new RequestError({ cause: new Error("throttled") }))
              }
              return table.send(kind, rewrite(kind, input))
            }),
            () => wait
          )
        )
      return tableStore(
        send,
        () => clock.currentTimeMillisUnsafe(),
        () => `life${++lives}`
      )
    }
    const stores = new Map<string, SharedStore.SharedStore>()
    const storeOf = (voter: string): SharedStore.SharedStore => {
      const store = stores.get(voter) ?? storeWith(true)
      stores.set(voter, store)
      return store
    }
    const reader = storeWith(false)
    const listener = storeWith(true)
    const listen = Effect.ignoreCause(
      Stream.runForEach(listener.changes, (change) => Effect.sync(() => publish(change)))
    )
    run(Random.withSeed(Effect.forever(Effect.andThen(listen, Effect.sleep("1 second"))), seed))
    return {
      store: {
        ...listener,
        load: reader.load,
        exchange: (exchange) =>
          Random.withSeed(
            Effect.suspend(() => {
              const carriedOut = storeOf(exchange.voter).exchange(exchange)
              // A process may end between any two requests.
              return chance.happens(0.03)
                ? Effect.timeoutOrElse(carriedOut, {
                    duration: chance.next() * 20,
                    orElse: () => Effect.never
                  })
                : carriedOut
            }),
            seed
          )
      },
      keepsTime: true,
      wipe: Effect.sync(() => table.items.clear()),
      close: () => {}
    }
  }

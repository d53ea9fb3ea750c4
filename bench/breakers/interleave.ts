import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { fromSeed } from "../soak/random.ts"
import type { Sample } from "./sampling.ts"
import type { Answer, Request } from "./worker.ts"

/** The samples of all cases: the samples at the same index are of the same round. */
export type Samples = ReadonlyMap<string, ReadonlyArray<Sample>>

export interface Effort {
  /** How often all processes are started again, because the compiler decides differently in each process. */
  readonly starts: number
  /** How many rounds follow each start. */
  readonly rounds: number
  readonly warmUpMillis: number
  readonly sampleMillis: number
}

const workerFile = fileURLToPath(new URL("worker.ts", import.meta.url))

class Worker {
  private readonly process: ChildProcess
  private readonly answers: Array<Answer> = []
  private wake = () => {}
  private exitCode: number | null | undefined

  constructor(family: string) {
    this.process = fork(workerFile, [family], { execArgv: ["--expose-gc"] })
    this.process.on("message", (answer: Answer) => {
      this.answers.push(answer)
      this.wake()
    })
    this.process.on("exit", (code) => {
      this.exitCode = code
      this.wake()
    })
  }

  async next<Tag extends Answer["_tag"]>(tag: Tag): Promise<Extract<Answer, { _tag: Tag }>> {
    while (this.answers.length === 0) {
      if (this.exitCode !== undefined) throw new Error(`a benchmark process ended with code ${this.exitCode}`)
      await new Promise<void>((resolve) => {
        this.wake = resolve
      })
    }
    const answer = this.answers.shift()
    if (answer?._tag !== tag) throw new Error(`expected ${tag}, got ${answer?._tag}`)
    return answer as Extract<Answer, { _tag: Tag }>
  }

  send(request: Request): void {
    this.process.send(request)
  }

  stop(): void {
    if (this.process.connected) this.process.disconnect()
  }
}

/** Shuffles with a fixed sequence of random numbers, so that no case always comes after the same other case. */
const shuffler = () => {
  const { next } = fromSeed(1)
  const below = (n: number) => Math.floor(next() * n)
  return <A>(items: ReadonlyArray<A>): ReadonlyArray<A> => {
    const rest = [...items]
    return items.flatMap(() => rest.splice(below(rest.length), 1))
  }
}

const shuffle = shuffler()

const interleaveOnce = async (families: ReadonlyArray<string>, effort: Effort): Promise<Samples> => {
  const workers = families.map((family) => new Worker(family))
  try {
    const cases: Array<{ readonly worker: Worker; readonly name: string; readonly calls: number }> = []
    for (const worker of workers) {
      const { names } = await worker.next("Ready")
      for (const name of names) {
        worker.send({ _tag: "WarmUp", name, warmUpMillis: effort.warmUpMillis, sampleMillis: effort.sampleMillis })
        cases.push({ worker, name, calls: (await worker.next("WarmedUp")).calls })
      }
    }
    const samples = new Map(cases.map(({ name }) => [name, [] as Array<Sample>]))
    for (let round = 0; round < effort.rounds; round++) {
      for (const { calls, name, worker } of shuffle(cases)) {
        worker.send({ _tag: "Sample", name, calls })
        samples.get(name)?.push((await worker.next("Sampled")).sample)
      }
    }
    return samples
  } finally {
    for (const worker of workers) worker.stop()
  }
}

/**
 * Measures the cases of all families. In each round each case is measured once, so that other work of the machine affects all cases
 * alike. Only one case runs at a time.
 */
export const interleave = async (families: ReadonlyArray<string>, effort: Effort): Promise<Samples> => {
  const all = new Map<string, ReadonlyArray<Sample>>()
  for (let start = 0; start < effort.starts; start++) {
    for (const [name, samples] of await interleaveOnce(families, effort)) {
      all.set(name, [...(all.get(name) ?? []), ...samples])
    }
  }
  return all
}

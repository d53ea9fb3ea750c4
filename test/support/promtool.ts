import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promtool } from "./servers.ts"

/** One series, and its value at each scrape; `undefined` where a scrape did not contain it. */
export type Scraped = ReadonlyMap<string, ReadonlyArray<number | undefined>>

/** The expected values of an expression at a time. Labels are written as in PromQL: `{name="api"}`. */
export interface Expected {
  readonly expr: string
  readonly at: string
  readonly samples: Readonly<Record<string, number>>
}

/** An alert that has to fire at a time, with its texts. */
export interface Alert {
  readonly name: string
  readonly at: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
}

export interface Check {
  readonly rules: string
  readonly everySeconds: number
  readonly scraped: Scraped
  readonly expected: ReadonlyArray<Expected>
  readonly alerts?: ReadonlyArray<Alert>
}

/** Runs `promtool test rules`. If a value is not the expected one, it fails with the output of promtool. */
export const testRules = async ({ alerts = [], everySeconds, expected, rules, scraped }: Check): Promise<void> => {
  const interval = `${everySeconds}s`
  const file = {
    rule_files: [rules],
    evaluation_interval: interval,
    tests: [
      {
        interval,
        input_series: Array.from(scraped, ([series, values]) => ({
          series,
          values: values.map((value) => (value === undefined ? "_" : String(value))).join(" ")
        })),
        promql_expr_test: expected.map(({ at, expr, samples }) => ({
          expr,
          eval_time: at,
          exp_samples: Object.entries(samples).map(([labels, value]) => ({ labels, value }))
        })),
        alert_rule_test: alerts.map(({ annotations, at, labels, name }) => ({
          alertname: name,
          eval_time: at,
          exp_alerts: [{ exp_labels: labels, exp_annotations: annotations }]
        }))
      }
    ]
  }
  const program = await promtool()
  const folder = mkdtempSync(join(tmpdir(), "promtool-"))
  try {
    // JSON is valid YAML, which promtool reads.
    writeFileSync(join(folder, "test.yml"), JSON.stringify(file))
    execFileSync(program, ["test", "rules", join(folder, "test.yml")], { encoding: "utf8", stdio: "pipe" })
  } catch (error) {
    const { stderr = "", stdout = "" } = error as { readonly stderr?: string; readonly stdout?: string }
    throw new Error(`promtool: ${error instanceof Error ? error.message : error}\n${stdout}${stderr}`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

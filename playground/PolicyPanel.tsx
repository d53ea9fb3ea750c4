/** Shows the controls and the code of one policy. */
import { useId } from "preact/hooks"
import { Copy } from "./Copy.tsx"
import { codeOf } from "./code.ts"
import { Control } from "./controls.tsx"
import type { Value } from "./fields.ts"
import { letterOf } from "./names.ts"
import { type Policy, policyFields, presetOf, presets, usualCooldown, type World, withPreset } from "./settings.ts"

/** Turns the limit on or off. If the cooldown has its default, this also changes the cooldown, because a limit has another default. */
const withLimit = (policy: Policy, limit: boolean): Policy => ({
  ...policy,
  limit,
  cooldown: policy.cooldown === usualCooldown(policy.limit) ? usualCooldown(limit) : policy.cooldown
})

export const PolicyPanel = ({
  change,
  index,
  policy,
  remove,
  world
}: {
  readonly policy: Policy
  readonly index: number
  readonly world: World
  readonly change: (policy: Policy) => void
  /** `undefined` if this is the only policy, because a user cannot remove the last policy. */
  readonly remove: (() => void) | undefined
}) => {
  const id = useId()
  const letter = letterOf(index)
  const control = (name: keyof Policy) => (
    <Control
      key={name}
      field={policyFields[name]}
      value={policy[name]}
      change={(value: Value) =>
        change(name === "limit" ? withLimit(policy, value === true) : { ...policy, [name]: value })
      }
    />
  )
  const preset = presetOf(policy)
  const rate = policy.trip !== "consecutive"
  const code = codeOf(policy, world)
  return (
    <section class="panel policy" aria-labelledby={`${id}-title`}>
      <header>
        <h2 id={`${id}-title`}>Policy {letter}</h2>
        {remove !== undefined && (
          <button type="button" onClick={remove} aria-label={`Remove policy ${letter}`}>
            Remove
          </button>
        )}
      </header>
      <div class="control">
        <label for={`${id}-preset`}>Begin with</label>
        <select
          id={`${id}-preset`}
          value={preset ?? ""}
          onChange={({ currentTarget }) => change(withPreset(policy, currentTarget.value))}
        >
          {preset === undefined && <option value="">your own</option>}
          {Object.keys(presets).map((name) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
      </div>
      {policy.kind === "breaker" && (
        <>
          {control("trip")}
          {(policy.trip === "either" || !rate) && control("failures")}
          {rate && (
            <>
              {policy.trip === "slow" && control("slowCall")}
              {control("threshold")}
              {control("minimumCalls")}
              {control("window")}
            </>
          )}
          {control("cooldown")}
          {control("limit")}
        </>
      )}
      {control("timeout")}
      {control("attempts")}
      <details>
        <summary>More settings</summary>
        {policy.kind === "breaker" && (
          <>
            {control("factor")}
            {control("probes")}
            {control("successesToClose")}
            {control("failuresToReopen")}
            {!policy.limit && control("ramp")}
            {world.replicas > 1 && control("circuits")}
          </>
        )}
        {control("bulkhead")}
      </details>
      <details class="code">
        <summary>As code</summary>
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: the keyboard scrolls it */}
        <pre tabIndex={0}>
          <code>{code}</code>
        </pre>
        <Copy label={`Copy the code of policy ${letter}`} text={() => code} />
      </details>
    </section>
  )
}

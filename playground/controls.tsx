import { useId } from "preact/hooks"
import { type ChoiceField, type Field, type FlagField, type NumberField, stopOf, type Value } from "./fields.ts"

interface Control<F, A> {
  readonly field: F
  readonly value: A
  readonly change: (value: A) => void
  /** The default is the label of the field. */
  readonly label?: string
}

const Slider = ({ change, field, label = field.label, value }: Control<NumberField, number>) => {
  const id = useId()
  const shown = field.show(value)
  return (
    <div class="control">
      <label for={id}>{label}</label>
      <output for={id}>{shown}</output>
      <input
        id={id}
        type="range"
        min={0}
        max={field.stops.length - 1}
        step={1}
        value={stopOf(field, value)}
        aria-valuetext={shown}
        onInput={({ currentTarget }) => change(field.stops[Number(currentTarget.value)] ?? field.default)}
      />
    </div>
  )
}

const Choice = ({ change, field, label = field.label, value }: Control<ChoiceField, string>) => {
  const id = useId()
  return (
    <div class="control">
      <label for={id}>{label}</label>
      <select id={id} value={value} onChange={({ currentTarget }) => change(currentTarget.value)}>
        {Object.entries(field.choices).map(([name, words]) => (
          <option key={name} value={name}>
            {words}
          </option>
        ))}
      </select>
    </div>
  )
}

const Flag = ({ change, field, label = field.label, value }: Control<FlagField, boolean>) => {
  const id = useId()
  return (
    <div class="control flag">
      <input
        id={id}
        type="checkbox"
        checked={value}
        aria-describedby={field.help === undefined ? undefined : `${id}-help`}
        onChange={({ currentTarget }) => change(currentTarget.checked)}
      />
      <label for={id}>{label}</label>
      {field.help !== undefined && (
        <span id={`${id}-help`} class="quiet">
          {field.help}
        </span>
      )}
    </div>
  )
}

/** Shows the control for a field. The casts are safe, because a field and its value have the same kind. */
export const Control = ({ field, value, ...rest }: Control<Field, Value>) => {
  switch (field.kind) {
    case "number":
      return <Slider {...rest} field={field} value={value as number} />
    case "choice":
      return <Choice {...rest} field={field} value={value as string} />
    case "flag":
      return <Flag {...rest} field={field} value={value as boolean} />
  }
}

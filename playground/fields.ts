/** Describes settings. Each field has a label, a default and allowed values. */

export interface NumberField {
  readonly kind: "number"
  readonly label: string
  readonly default: number
  /** The slider offers these values in order. A link may contain any number from the first value to the last value. */
  readonly stops: ReadonlyArray<number>
  readonly whole: boolean
  readonly show: (value: number) => string
}

export interface ChoiceField<A extends string = string> {
  readonly kind: "choice"
  readonly label: string
  readonly default: A
  readonly choices: Readonly<Record<A, string>>
}

export interface FlagField {
  readonly kind: "flag"
  readonly label: string
  readonly help?: string
  readonly default: boolean
}

export type Field = NumberField | ChoiceField | FlagField
export type Fields = Readonly<Record<string, Field>>
export type Value = number | string | boolean

type ValueOf<F> = F extends NumberField
  ? number
  : F extends ChoiceField<infer A>
    ? A
    : F extends FlagField
      ? boolean
      : never
export type Values<F extends Fields> = { readonly [K in keyof F]: ValueOf<F[K]> }

export const number = (
  label: string,
  initial: number,
  stops: ReadonlyArray<number>,
  show: (value: number) => string = String,
  whole = false
): NumberField => ({ kind: "number", label, default: initial, stops, show, whole })

export const count = (
  label: string,
  initial: number,
  stops: ReadonlyArray<number>,
  show?: (value: number) => string
): NumberField => number(label, initial, stops, show, true)

export const choice = <A extends string>(
  label: string,
  initial: NoInfer<A>,
  choices: Readonly<Record<A, string>>
): ChoiceField<A> => ({ kind: "choice", label, default: initial, choices })

export const flag = (label: string, initial: boolean, help?: string): FlagField => ({
  kind: "flag",
  label,
  default: initial,
  ...(help === undefined ? {} : { help })
})

export const defaultsOf = <F extends Fields>(fields: F): Values<F> =>
  Object.fromEntries(Object.entries(fields).map(([name, one]) => [name, one.default])) as Values<F>

export const areEqual = <F extends Fields>(fields: F, a: Values<F>, b: Values<F>): boolean =>
  Object.keys(fields).every((name) => a[name] === b[name])

const leastOf = ({ stops }: NumberField): number => stops[0] ?? 0
const mostOf = ({ stops }: NumberField): number => stops.at(-1) ?? 0

/** Describes the valid values of a field for an error message. */
export const expected = (field: Field): string => {
  switch (field.kind) {
    case "number":
      return `${field.whole ? "a whole number" : "a number"} from ${leastOf(field)} to ${mostOf(field)}`
    case "choice":
      return `one of ${Object.keys(field.choices).join(", ")}`
    case "flag":
      return "yes or no"
  }
}

export const toText = (value: Value): string => (typeof value === "boolean" ? (value ? "yes" : "no") : String(value))

/** Reads a value that {@link toText} wrote. Returns `undefined` if the field does not accept the text. */
export const fromText = (field: Field, text: string): Value | undefined => {
  switch (field.kind) {
    case "number": {
      if (!/^\d{1,9}(\.\d{1,20})?$/.test(text)) return undefined
      const value = Number(text)
      const fits = value >= leastOf(field) && value <= mostOf(field) && (!field.whole || Number.isInteger(value))
      return fits ? value : undefined
    }
    case "choice":
      return Object.hasOwn(field.choices, text) ? text : undefined
    case "flag":
      return text === "yes" ? true : text === "no" ? false : undefined
  }
}

/** The position of the slider that is nearest to the value. */
export const stopOf = ({ stops }: NumberField, value: number): number => {
  const distances = stops.map((stop) => Math.abs(stop - value))
  return distances.indexOf(Math.min(...distances))
}

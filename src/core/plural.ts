/** Formats a number with its noun: `1 failure`, `2 failures`. */
export const plural = (n: number, one: string, many = `${one}s`): string => `${n} ${n === 1 ? one : many}`

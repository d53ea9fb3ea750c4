import { CallbackTimer, Delay, type Timer } from "../../src/engine/timers.ts"

export const start = (millis: number, onDue: () => void, keepsAlive = true): Timer => {
  const timer = new CallbackTimer(onDue)
  new Delay(millis, keepsAlive).start(timer)
  return timer
}

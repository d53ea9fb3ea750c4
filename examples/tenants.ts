/**
 * A circuit for each tenant, so that one tenant with expired credentials affects no other; or one circuit for all, with counts per
 * tenant.
 */
import { Effect, Logger, pipe } from "effect"
import { BreakerPolicy, BreakerStore, CircuitBreaker, Tenant, Trip } from "effect-fuse"

/** Acme's password has expired. */
const login = Effect.flatMap(Tenant.Current, (tenant) =>
  tenant === "acme" ? Effect.fail("wrong password") : Effect.succeed(`a report for ${tenant}`)
)
const said = Effect.catch((error: string | { readonly _tag: string }) =>
  Effect.succeed(typeof error === "string" ? error : error._tag)
)
const crm = pipe(login, CircuitBreaker.protect("crm"), said)
const mail = pipe(login, CircuitBreaker.protect("mail"), said)

const program = Effect.gen(function* () {
  for (const tenant of ["acme", "acme", "acme", "globex"])
    console.log(`${tenant}: ${yield* Tenant.within(crm, tenant)}`)
  for (const { key, state } of yield* CircuitBreaker.list) console.log(`the circuit of ${key} is ${state}`)

  // A dependency that all tenants share has one circuit. The counts show whose calls failed.
  for (const tenant of ["globex", "acme", "acme", "globex"])
    console.log(`${tenant}: ${yield* Tenant.within(mail, tenant)}`)
  const { state, tenants } = yield* CircuitBreaker.inspect("mail")
  console.log(`the circuit of all is ${state}`)
  for (const [tenant, { calls, failures, rejected }] of Object.entries(tenants)) {
    console.log(`${tenant}: calls ${calls}, failed ${failures}, rejected ${rejected}`)
  }
})

const policies = BreakerPolicy.layer({
  default: { trip: Trip.consecutive(2) },
  breakers: { mail: { tenants: "counted" } } // the default is "separate"
})
await Effect.runPromise(
  program.pipe(Effect.provide(BreakerStore.layerMemory), Effect.provide(policies), Effect.provide(Logger.layer([])))
)

/**
 * Circuit breakers for the remote procedures of Effect's `effect/rpc`: around clients, and in servers.
 *
 * - `RpcClientBreaker`: a circuit around the calls of an `RpcClient`.
 * - `RpcServerBreaker`: a middleware that answers rejections with a typed error, and reads deadlines.
 *
 * `effect/rpc` is unstable: these modules are tested with Effect 4.1.0.
 */
export * as RpcClientBreaker from "./RpcClientBreaker.ts"
export * as RpcServerBreaker from "./RpcServerBreaker.ts"

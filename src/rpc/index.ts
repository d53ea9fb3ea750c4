/**
 * Circuit breakers for the clients and servers of Effect's `effect/rpc`.
 *
 * - `RpcClientBreaker`: a circuit around the calls of an `RpcClient`.
 * - `RpcServerBreaker`: a server middleware that turns rejections into a typed error, and reads deadlines.
 *
 * `effect/rpc` is unstable: these modules are tested with Effect 4.1.0.
 */
export * as RpcClientBreaker from "./RpcClientBreaker.ts"
export * as RpcServerBreaker from "./RpcServerBreaker.ts"

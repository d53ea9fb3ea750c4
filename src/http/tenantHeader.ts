import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import { type Decoded, field, flag, isCount, numberWhere, optional, structOrFlag, textLike } from "../core/fields.ts"
import * as Tenant from "../shapes/Tenant.ts"

const tenantFields = {
  header: optional(textLike("the name of a header", /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/)),
  maxLength: optional(
    field(
      `a whole number from 1 to ${Tenant.maxLength}`,
      numberWhere((n) => isCount(n) && n <= Tenant.maxLength)
    )
  ),
  pattern: optional(field<RegExp>("a regular expression", (input) => (input instanceof RegExp ? input : undefined))),
  required: optional(flag)
}

export const tenantField = structOrFlag(tenantFields)

type TenantFound =
  | { readonly _tag: "None" }
  | { readonly _tag: "Some"; readonly tenant: string }
  | { readonly _tag: "Invalid" }

export interface TenantHeader {
  readonly header: string
  readonly read: (request: HttpServerRequest.HttpServerRequest) => TenantFound
}

const none: TenantFound = { _tag: "None" }
const invalid: TenantFound = { _tag: "Invalid" }

export const tenantHeader = ({
  header = "x-tenant-id",
  maxLength = Tenant.maxLength,
  pattern = /[!-$&-.0-~]+/,
  required = false
}: Decoded<typeof tenantFields>): TenantHeader => {
  // The whole value must match, as a partial match would be another tenant. The flags `g` and `y` would start a test where the last one
  // ended, and `m` would let a single line match.
  const form = new RegExp(`^(?:${pattern.source})$`, pattern.flags.replaceAll(/[gmy]/g, ""))
  const name = header.toLowerCase()
  return {
    header: name,
    read: ({ headers }) => {
      const tenant = headers[name]
      if (tenant === undefined) return required ? invalid : none
      return tenant !== "" && tenant.length <= maxLength && form.test(tenant) ? { _tag: "Some", tenant } : invalid
    }
  }
}

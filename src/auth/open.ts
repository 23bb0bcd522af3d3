// From what is configured to whoever decides.
import { existsSync } from 'node:fs'
import type { AccessController } from '../registry/access.ts'
import type { Logger } from '../telemetry/logger.ts'
import type { Controller } from './controller.ts'
import { Gate, type AnonymousRule, type PolicyRule } from './gate.ts'
import { SillyController } from './silly.ts'
import type { TokenSettings } from './token.ts'

export type ControllerSettings =
  | { readonly kind: 'silly'; readonly realm: string; readonly service: string }
  | { readonly kind: 'htpasswd'; readonly realm: string; readonly path: string }
  | ({ readonly kind: 'token' } & TokenSettings)

export interface AccessOptions {
  readonly controller: ControllerSettings
  readonly anonymous: readonly AnonymousRule[]
  readonly policy: readonly PolicyRule[] | undefined
  /** How clients reach us, where it is configured. */
  readonly externalUrl: URL | undefined
  readonly logger: Logger
}

/** @throws AccessSetupError where a file that it needs cannot be read, or would let nobody in */
export async function openAccess(options: AccessOptions): Promise<AccessController> {
  const { anonymous, policy } = options
  return new Gate({ controller: await openController(options), anonymous, policy })
}

/**
 * Looks into the files as `openAccess` does; makes none, and fetches nothing.
 * @throws AccessSetupError as that does
 */
export async function checkAccess(options: AccessOptions): Promise<void> {
  const { controller } = options
  if (controller.kind === 'htpasswd' && !existsSync(controller.path)) {
    const { checkMissing } = await import('./htpasswd.ts')
    return await checkMissing(controller.path)
  }
  const isFetched = controller.kind === 'token' && controller.jwks instanceof URL
  await openController({ ...options, controller: isFetched ? { ...controller, jwks: undefined } : controller })
}

/** What one way does not need is not loaded for it. */
async function openController({ controller, externalUrl, logger }: AccessOptions): Promise<Controller> {
  switch (controller.kind) {
    case 'silly':
      return new SillyController(controller)
    case 'htpasswd': {
      const { HtpasswdController } = await import('./htpasswd.ts')
      return await HtpasswdController.open({ ...controller, logger })
    }
    case 'token': {
      const { TokenController } = await import('./token.ts')
      return await TokenController.open({ ...controller, externalUrl, logger })
    }
  }
}

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TracingConfig } from '../../src/config/tracing-section.ts'
import { load, minimal, type Env } from './given.ts'

function tracing(env: Env): { readonly tracing: TracingConfig | undefined; readonly warnings: readonly string[] } {
  const { config, warnings } = load(minimal, env)
  return { tracing: config.tracing, warnings }
}

test('traces are sent where the variables of OpenTelemetry ask for them', () => {
  for (const [env, endpoint] of [
    [{}, undefined],
    [{ OTEL_TRACES_EXPORTER: 'none', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://a' }, undefined],
    [{ OTEL_SDK_DISABLED: 'true', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://a' }, undefined],
    [{ OTEL_SERVICE_NAME: 'mirror' }, undefined],
    [{ OTEL_TRACES_EXPORTER: 'otlp' }, 'http://localhost:4318/v1/traces'],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://a:1/b/' }, 'http://a:1/b/v1/traces'],
    [{ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://a/b', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://c' }, 'https://a/b'],
  ] as const) {
    const found = tracing(env)
    assert.deepEqual([found.tracing?.endpoint.href, found.warnings], [endpoint, []], JSON.stringify(env))
  }
})

test('headers, name and sampling are read', () => {
  const { tracing: found } = tracing({
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://a',
    OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20x, b = c',
    OTEL_SERVICE_NAME: 'mirror',
    OTEL_TRACES_SAMPLER: 'traceidratio',
    OTEL_TRACES_SAMPLER_ARG: '0.25',
  })
  assert.deepEqual(found && { ...found, endpoint: found.endpoint.href }, {
    endpoint: 'http://a/v1/traces',
    headers: { authorization: 'Bearer x', b: 'c' },
    service: 'mirror',
    attributes: {},
    followsClients: false,
    ratio: 0.25,
  })
  const usual = tracing({ OTEL_TRACES_EXPORTER: 'otlp' }).tracing
  assert.deepEqual([usual?.service, usual?.followsClients, usual?.ratio], ['entrepot', true, 1])
})

test('what is not understood is said and is no reason not to start; no secret is said', () => {
  const otlp = { OTEL_TRACES_EXPORTER: 'otlp' }
  for (const [env, line, isOn] of [
    [{ OTEL_TRACES_EXPORTER: 'zipkin' }, /only otlp and none/, false],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'secret@nowhere' }, /OTEL_EXPORTER_OTLP_ENDPOINT is no http URL/, false],
    [{ ...otlp, OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' }, /grpc is not supported/, true],
    [{ ...otlp, OTEL_TRACES_SAMPLER: 'jaeger_remote' }, /OTEL_TRACES_SAMPLER: not supported/, true],
    [{ ...otlp, OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '7' }, /from 0 to 1/, true],
  ] as const) {
    const found = tracing(env)
    assert.match(found.warnings.join('\n'), line)
    assert.doesNotMatch(found.warnings.join('\n'), /secret/)
    assert.equal(found.tracing !== undefined, isOn)
  }
})

test('what else is known of this server is read, and names it where nothing else does', () => {
  const OTEL_EXPORTER_OTLP_ENDPOINT = 'http://a'
  const OTEL_RESOURCE_ATTRIBUTES = 'deployment.environment=test, k8s.pod.name = a%20b ,service.name=theirs,nonsense'
  const attributes = { 'deployment.environment': 'test', 'k8s.pod.name': 'a b' }
  for (const [env, service] of [
    [{}, 'theirs'],
    [{ OTEL_SERVICE_NAME: 'mirror' }, 'mirror'],
  ] as const) {
    const { tracing: found } = tracing({ OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_RESOURCE_ATTRIBUTES, ...env })
    assert.deepEqual([found?.service, found?.attributes], [service, attributes])
  }
})

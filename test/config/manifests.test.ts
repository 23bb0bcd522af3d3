// `validation`, `policy` and `compatibility`.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { load, minimal, refusal } from './given.ts'

test('validation is on, and lets no URL and every platform count, unless it says otherwise', () => {
  const { config, warnings } = load(minimal)
  assert.deepEqual(config.validation, {
    disabled: false,
    urls: { allow: [], deny: [] },
    indexes: { platforms: 'all', platformList: [] },
  })
  assert.deepEqual(config.policy, { classes: [] })
  assert.deepEqual(config.schema1, { enabled: false, keyFile: undefined })
  assert.deepEqual(warnings, [])
})

test('validation, policy and compatibility are read as distribution writes them', () => {
  const { config, warnings } = load(`${minimal}
validation:
  disabled: true
  manifests:
    urls: { allow: ['^https?://([^/]+\\.)*example\\.com/'], deny: ['^https?://www\\.example\\.com/', evil] }
    indexes:
      platforms: List
      platformlist: [{ architecture: amd64, os: linux }, { architecture: arm64, os: linux }]
policy: { repository: { classes: [image, plugin] } }
compatibility: { schema1: { enabled: true, signingkeyfile: keys/key.json } }
`)
  assert.deepEqual(config.validation, {
    disabled: true,
    urls: {
      allow: ['^https?://([^/]+\\.)*example\\.com/'],
      deny: ['^https?://www\\.example\\.com/', 'evil'],
    },
    indexes: {
      platforms: 'list',
      platformList: [
        { architecture: 'amd64', os: 'linux' },
        { architecture: 'arm64', os: 'linux' },
      ],
    },
  })
  assert.deepEqual(config.policy, { classes: ['image', 'plugin'] })
  assert.deepEqual(config.schema1, {
    enabled: true,
    keyFile: { key: 'compatibility.schema1.signingkeyfile', path: '/srv/registry/keys/key.json' },
  })
  assert.deepEqual(warnings, [])
})

test('the environment reaches them, by the name of the Go field too', () => {
  const { config } = load(minimal, {
    REGISTRY_VALIDATION_DISABLED: 'true',
    REGISTRY_VALIDATION_MANIFESTS_URLS_ALLOW_0: '^https://a/',
    REGISTRY_VALIDATION_MANIFESTS_INDEXES_PLATFORMS: 'NONE',
    REGISTRY_POLICY_REPOSITORY_CLASSES: '[image]',
    REGISTRY_COMPATIBILITY_SCHEMA1_TRUSTKEY: '/key.pem',
  })
  assert.equal(config.validation.disabled, true)
  assert.deepEqual(config.validation.urls.allow, ['^https://a/'])
  assert.equal(config.validation.indexes.platforms, 'none')
  assert.deepEqual(config.policy.classes, ['image'])
  assert.equal(config.schema1.keyFile?.path, '/key.pem')
})

test('trustkey goes before the name that distribution has for it', () => {
  const { config, warnings } = load(`${minimal}compatibility: { schema1: { trustkey: /a, signingkeyfile: /b } }`)
  assert.deepEqual(config.schema1.keyFile, { key: 'compatibility.schema1.trustkey', path: '/a' })
  assert.deepEqual(warnings, ['compatibility.schema1.signingkeyfile has no effect beside trustkey'])
})

test('what has no effect is named', () => {
  const { config, warnings } = load(`${minimal}validation:
  enabled: false
  manifests: { indexes: { platformlist: [{ architecture: amd64, os: linux }] } }`)
  assert.equal(config.validation.disabled, false)
  assert.deepEqual(warnings, [
    'validation.manifests.indexes.platformlist has no effect unless platforms is list',
    'validation.enabled has no effect; disabled: true is how validation is switched off',
  ])
  assert.deepEqual(load(`${minimal}validation: { enabled: true }`).warnings, [])
  assert.deepEqual(load(`${minimal}validation: { enabled: false, disabled: true }`).warnings, [])
})

test('a pattern that Go reads as JavaScript does is taken', () => {
  const cases: readonly (readonly [pattern: string, matches: string, not: string])[] = [
    ['^https://a\\-b\\.example/', 'https://a-b.example/x', 'https://a-bxexample/x'],
    ['^https\\:\\/\\/a\\/\\~x$', 'https://a/~x', 'https://a/x'],
    ['(?i)^https://A/', 'HTTPS://a/x', 'https://b/'],
    ['(?i)a|b', 'B', 'c'],
    ['[\\w\\-]+\\.example', 'a-b.example', '!example'],
    ['\\\\-', '\\-', '-'],
    ['x{2}', 'xx', 'x'],
    ['', 'anything', ''],
  ]
  for (const [pattern, matches, not] of cases) {
    const { config } = load(`${minimal}validation: { manifests: { urls: { allow: ${JSON.stringify([pattern])} } } }`)
    const [source = 'none'] = config.validation.urls.allow
    assert.match(matches, new RegExp(source, 'u'))
    if (not !== '') assert.doesNotMatch(not, new RegExp(source, 'u'))
  }
})

test('a pattern that is none, or that Go reads otherwise, is refused', () => {
  for (const pattern of [
    '(',
    '[a',
    '*',
    'a{2,1}',
    '\\Ahttps://a/\\z',
    '[[:alpha:]]',
    '\\Qa.b\\E',
    '(?P<n>a)',
    '\\pN',
  ]) {
    const yaml = `${minimal}validation: { manifests: { urls: { deny: ${JSON.stringify(['a', pattern])} } } }`
    const expected = 'expected a regular expression, of what Go and JavaScript have in common'
    assert.equal(refusal(yaml), `validation.manifests.urls.deny[1]: found ${JSON.stringify(pattern)}, ${expected}`)
  }
})

test('a value of the wrong kind is refused', () => {
  const cases: readonly (readonly [yaml: string, message: string])[] = [
    [
      'validation: { manifests: { indexes: { platforms: some } } }',
      'validation.manifests.indexes.platforms: found "some", expected all, none or list',
    ],
    [
      'validation: { manifests: { indexes: { platforms: list, platformlist: [{ os: linux }] } } }',
      'validation.manifests.indexes.platformlist[0].architecture: missing, expected text',
    ],
    [
      'validation: { manifests: { indexes: { platforms: list, platformlist: [{ architecture: amd64 }] } } }',
      'validation.manifests.indexes.platformlist[0].os: missing, expected text',
    ],
    [
      'validation: { manifests: { urls: { allow: a } } }',
      'validation.manifests.urls.allow: found text, expected a list',
    ],
    ['validation: { disabled: maybe }', 'validation.disabled: found "maybe", expected true or false'],
    ['policy: { repository: { classes: image } }', 'policy.repository.classes: found text, expected a list'],
    ['policy: { classes: [image] }', 'policy.classes: unknown key; did you mean policy.repository.classes?'],
    ['compatibility: { schema1: true }', 'compatibility.schema1: found text, expected a map'],
  ]
  for (const [yaml, message] of cases) assert.equal(refusal(minimal + yaml), message)
})

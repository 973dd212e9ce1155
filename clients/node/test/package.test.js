import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import test from 'node:test'

import * as wildkey from '../wildkey.js'
import { nodeRedis } from './clients.js'

const read = (path) => readFileSync(new URL(path, import.meta.url), 'utf8')

test('what is exported is declared', () => {
  const exports = read('../wildkey.d.ts').matchAll(/^export (?:const|function|class) (\w+)/gm)
  const declared = [...exports].map(([, name]) => name)
  assert.deepEqual([...new Set(declared)].sort(), Object.keys(wildkey).sort())
})

test('the scripts are those whose digests operators pin', () => {
  const digests = Object.entries(wildkey.readScripts()).map(([name, { sha1 }]) => `${sha1}  ${name}.lua\n`)
  assert.equal(digests.join(''), read('../../../scripts/SHA1SUMS'))
})

test('the verbs, options and errors are in README.md', async (t) => {
  const page = read('../README.md')
  const members = Object.getOwnPropertyDescriptors(wildkey.Wildkey.prototype)
  const { constructor, options, call, leaseName, ...verbs } = members
  assert.ok([constructor, options, call, leaseName].every(Boolean)) // which the page leaves out
  for (const verb of Object.keys(verbs)) assert.ok(page.includes(`\`${verb}(`) || page.includes(`.${verb}(`), verb)
  const rows = page.split('\n').filter((line) => line.startsWith('| `'))
  for (const option of Object.keys(new wildkey.Wildkey(await nodeRedis(t)).options)) {
    assert.ok(rows.some((row) => row.includes(`\`${option}\``)), option)
  }
  for (const name of Object.keys(wildkey)) if (name.endsWith('Error')) assert.ok(page.includes(`| \`${name}\``), name)
})

// Has what lies elsewhere in the repository beside the package while npm packs it: the scripts, byte for byte, and the
// license. They are not kept here, or a change of one would have to be made twice.
//
//   node pack.js add
//   node pack.js remove

import { copyFileSync, mkdirSync, readdirSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { readScripts } from './lib/scripts.js'

const here = dirname(fileURLToPath(import.meta.url))
const repository = join(here, '..', '..')
const scripts = join(here, 'scripts')

rmSync(scripts, { recursive: true, force: true })
rmSync(join(here, 'LICENSE'), { force: true })
if (process.argv[2] === 'add') {
  mkdirSync(scripts)
  for (const file of readdirSync(join(repository, 'scripts'))) {
    if (file !== 'SHA1SUMS' && !file.endsWith('.lua')) continue
    copyFileSync(join(repository, 'scripts', file), join(scripts, file))
  }
  copyFileSync(join(repository, 'LICENSE'), join(here, 'LICENSE'))
  readScripts(scripts) // which holds each against its digest
}

import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { ScriptError } from './errors.js'

/**
 * Sources and digests of the scripts by name, as SHA1SUMS lists them. Without a directory, scripts/ is looked for in
 * the package, and then where Wildkey's own repository has it.
 */
export function readScripts(directory = undefined) {
  const root = dirname(dirname(fileURLToPath(import.meta.url)))
  const candidates = directory ? [directory] : [join(root, 'scripts'), join(root, '..', '..', 'scripts')]
  const found = candidates.find((path) => existsSync(join(path, 'SHA1SUMS')))
  if (!found) throw new ScriptError(`no SHA1SUMS in ${candidates.join(' or ')}`)
  const scripts = {}
  for (const line of readFileSync(join(found, 'SHA1SUMS'), 'utf8').trim().split('\n')) {
    const [sha1, file] = line.split(/\s+/)
    const source = readFileSync(join(found, file))
    if (createHash('sha1').update(source).digest('hex') !== sha1) {
      throw new ScriptError(`${join(found, file)} is not what SHA1SUMS says`)
    }
    scripts[file.replace(/\.lua$/, '')] = { source, sha1 }
  }
  return scripts
}

import { BadArgumentError, ScriptError, codeOf, textOf } from './errors.js'

/** Calls scripts by digest, and has the server load those that it lacks. */
export class Loader {
  #adapter
  #scripts
  #preloaded
  #noEvalRO = false // EVALSHA was taken where EVALSHA_RO was refused
  #loading = new Map() // by script and index: settled when the server has the script

  constructor(adapter, scripts, preloaded) {
    this.#adapter = adapter
    this.#scripts = scripts
    this.#preloaded = preloaded
  }

  /** Loads all scripts on every node, or looks whether they are there. */
  async load() {
    for (const name of Object.keys(this.#scripts)) await this.#provide(name)
  }

  /** Calls a script that may write. */
  run(name, keys, args) {
    return this.#call('EVALSHA', 'EVAL', name, keys, args)
  }

  /**
   * Calls a script that never writes. By EVALSHA_RO, replicas and users without write permission run it. Redis 6.2
   * lacks that command, and an ACL may grant EVALSHA alone: where EVALSHA_RO is refused, EVALSHA tells.
   */
  async runReadOnly(name, keys, args) {
    if (this.#noEvalRO) return this.run(name, keys, args)
    try {
      return await this.#call('EVALSHA_RO', 'EVAL_RO', name, keys, args)
    } catch (error) {
      if (!/^(NOPERM|(ERR )?unknown command)/.test(textOf(error))) throw error
      const reply = await this.run(name, keys, args)
      this.#noEvalRO = true
      return reply
    }
  }

  async #call(byDigest, bySource, name, keys, args) {
    const { sha1 } = this.#scripts[name]
    const readOnly = byDigest === 'EVALSHA_RO'
    const send = (command, text) =>
      this.#adapter.send([command, text, String(keys.length), ...keys, ...args], keys[0], readOnly)
    try {
      try {
        return await send(byDigest, sha1)
      } catch (error) {
        if (codeOf(error) !== 'NOSCRIPT') throw error
        if (this.#preloaded) throw this.#missing(name)
        return await this.#callMissing(send, byDigest, bySource, name, keys[0])
      }
    } catch (error) {
      if (codeOf(error) === 'BADARG') throw new BadArgumentError(textOf(error), { cause: error })
      throw error
    }
  }

  // Sends the source, which the server keeps, to the node that lacks it: to load a script on every node would wait for
  // one that does not answer. Of concurrent callers in a shard one sends it, and the others wait for it.
  async #callMissing(send, byDigest, bySource, name, index) {
    const { source, sha1 } = this.#scripts[name]
    const place = `${name} ${index}`
    const other = this.#loading.get(place)
    if (other) {
      await other
      try {
        return await send(byDigest, sha1)
      } catch (error) {
        if (codeOf(error) !== 'NOSCRIPT') throw error
      }
    }
    const call = send(bySource, source)
    const settled = call.then(() => {}, () => {})
    this.#loading.set(place, settled)
    try {
      return await call
    } catch (error) {
      // A user may be one who may load scripts, and not send them.
      if (codeOf(error) !== 'NOPERM') throw error
      try {
        await this.#provide(name)
      } catch {
        throw error
      }
      return await send(byDigest, sha1)
    } finally {
      if (this.#loading.get(place) === settled) this.#loading.delete(place)
    }
  }

  async #provide(name) {
    const { source, sha1 } = this.#scripts[name]
    if (this.#preloaded) {
      const replies = await this.#adapter.onNodes(['SCRIPT', 'EXISTS', sha1])
      if (!replies.every(([exists]) => Number(exists) === 1)) throw this.#missing(name)
      return
    }
    for (const digest of await this.#adapter.onNodes(['SCRIPT', 'LOAD', source])) {
      if (String(digest) !== sha1) throw new ScriptError(`the server has another digest for ${name}.lua than ${sha1}`)
    }
  }

  #missing(name) {
    return new ScriptError(`not on the server: ${name}.lua ${this.#scripts[name].sha1}`)
  }
}

// What Wildkey needs of a client: to send the words of a command to where its key lies, and to reach all nodes. Bulk
// strings come back as Buffers. A command that readOnly is true of may go to a replica, if the client was told so.

// How node-redis is to return bulk strings, whose type byte, $, is 36. In version 5 withTypeMapping says nothing to
// sendCommand.
const AS_BUFFERS = { typeMapping: { 36: Buffer } }

/** The adapter of a client of node-redis or ioredis; TypeError for all else. */
export function adapterOf(client) {
  const has = (...names) => names.every((name) => typeof client?.[name] === 'function')
  if (client?.isPipeline || (has('exec') && !has('callBuffer') && !has('withTypeMapping'))) {
    throw new TypeError('a pipeline or transaction answers only once it is executed: give Wildkey the client itself')
  }
  if (has('callBuffer', 'duplicate')) {
    if (client.options?.keyPrefix) {
      throw new TypeError("the client's keyPrefix would part records from their hash tag: use the namespace for it")
    }
    if (client.options?.enableAutoPipelining) {
      // It takes the first word of a command that comes by call() for an argument.
      throw new TypeError('a client with enableAutoPipelining garbles scripts: give Wildkey a duplicate() without it')
    }
    return client.isCluster ? new IoredisCluster(client) : new Ioredis(client)
  }
  if (has('withTypeMapping', 'sendCommand')) {
    if (has('nodeClient')) return new NodeRedisCluster(client)
    // A sentinel's own client, and what its acquire() lends.
    return has('acquire') || has('release') ? new NodeRedisSentinel(client) : new NodeRedis(client)
  }
  throw new TypeError('the client is neither one of redis (createClient, createCluster, createSentinel) nor of ioredis')
}

class NodeRedis {
  constructor(client) {
    this.client = client
  }

  send(words) {
    return this.client.sendCommand(words, AS_BUFFERS)
  }

  async onNodes(words) {
    return [await this.client.sendCommand(words, AS_BUFFERS)]
  }
}

class NodeRedisSentinel extends NodeRedis {
  send(words, key, readOnly) {
    return this.client.sendCommand(readOnly, words, AS_BUFFERS)
  }

  async onNodes(words) {
    return [await this.client.sendCommand(false, words, AS_BUFFERS)]
  }
}

class NodeRedisCluster extends NodeRedis {
  send(words, key, readOnly) {
    return this.client.sendCommand(key, readOnly, words, AS_BUFFERS)
  }

  async onNodes(words) {
    const nodes = [...this.client.masters, ...this.client.replicas]
    return Promise.all(
      nodes.map(async (node) => {
        const client = await this.client.nodeClient(node)
        return client.sendCommand(words, AS_BUFFERS)
      }),
    )
  }
}

class Ioredis {
  constructor(client) {
    this.client = client
  }

  // ioredis itself knows where the keys of a command are, and which commands only read.
  send([name, ...args]) {
    return this.client.callBuffer(name, ...args)
  }

  async onNodes(words) {
    return [await this.send(words)]
  }
}

class IoredisCluster extends Ioredis {
  onNodes([name, ...args]) {
    return Promise.all(this.client.nodes('all').map((node) => node.callBuffer(name, ...args)))
  }
}

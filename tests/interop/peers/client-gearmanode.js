// Drives the npm package gearmanode as a client; see README.md.
'use strict'

const gearmanode = require('gearmanode')
const speak = require('./speak')

gearmanode.Client.logger.transports.forEach(transport => { transport.silent = true })

const [host, port] = process.argv.slice(2)
const client = gearmanode.client({ host, port: Number(port) })
client.on('error', () => {})
let patience = 10000

const hex = data => Buffer.from(data || '').toString('hex')

function submit (asked, workload, background) {
  const options = { background, priority: (asked.priority || 'normal').toUpperCase() }
  if (asked.unique) options.unique = asked.unique
  const job = client.submitJob(asked.function, workload, options)
  if (job instanceof Error) throw job
  return job
}

function run (asked, workload) {
  return new Promise((resolve, reject) => {
    const events = []
    const job = submit(asked, workload, false)
    const timer = setTimeout(() => reject(new Error('timeout')), patience)
    const over = () => { clearTimeout(timer); resolve(events) }
    job.on('created', () => events.push(['created', hex(job.handle)]))
    job.on('workData', data => events.push(['data', hex(data)]))
    job.on('warning', data => events.push(['warning', hex(data)]))
    job.on('status', status => events.push(
      ['status', hex(String(status.percent_done_num)), hex(String(status.percent_done_den))]))
    job.on('complete', () => { events.push(['complete', hex(job.response)]); over() })
    job.on('failed', () => { events.push(['fail']); over() })
    job.on('exception', data => { events.push(['exception', hex(data)]); over() })
    job.on('error', reject)
  })
}

const created = job => new Promise((resolve, reject) => {
  job.on('created', () => resolve(job))
  job.on('error', reject)
})

const jobs = {}

const verbs = {
  call: async asked => {
    const events = await run(asked, Buffer.from(asked.workload, 'hex'))
    const [kind, data] = events[events.length - 1]
    const before = events.filter(event => event[0] === 'data').map(event => event[1]).join('')
    return { complete: { result: before + data }, fail: { failed: true }, exception: { exception: data } }[kind]
  },
  task: async asked => ({ events: await run(asked, Buffer.from(asked.workload, 'hex')) }),
  background: async asked => {
    const job = await created(submit(asked, Buffer.from(asked.workload, 'hex'), true))
    jobs[job.handle] = job
    return { handle: job.handle }
  },
  many: async asked => {
    const all = await Promise.all(asked.workloads.map(one => run(asked, Buffer.from(one, 'hex'))))
    return { results: all.map(events => events[events.length - 1][1]) }
  },
  status: asked => new Promise(resolve => {
    const job = jobs[asked.handle]
    job.once('status', status => resolve({
      status: [Number(status.known), Number(status.running),
        Number(status.percent_done_num), Number(status.percent_done_den)]
    }))
    job.getStatus()
  }),
  ping: () => new Promise(resolve => {
    client.jobServers[0].once('echo', data => resolve({ ok: String(data) === 'are you there?' }))
    client.jobServers[0].echo('are you there?')
  }),
  exceptions: () => new Promise(resolve => {
    client.jobServers[0].once('option', name => resolve({ ok: String(name) === 'exceptions' }))
    client.jobServers[0].setOption('exceptions')
  }),
  patience: asked => { patience = asked.seconds * 1000; return { ok: true } },
  version: () => ({ version: `${require('gearmanode/package.json').version} (Node ${process.version})` })
}

speak(asked => verbs[asked.verb](asked))

// Drives the npm package gearman as a client; see README.md.
'use strict'

const gearman = require('gearman')
const speak = require('./speak')

const [host, port] = process.argv.slice(2)
let exceptions = false
let patience = 10000

const hex = data => Buffer.from(data || '').toString('hex')

// One connection for each question: the library has no way to tell jobs apart but by handle.
function talk (begin) {
  return new Promise((resolve, reject) => {
    const client = gearman(host, Number(port), { timeout: patience })
    const done = answer => { client.close(); resolve(answer) }
    client.on('error', reject)
    client.on('timeout', () => done({ error: 'timeout' }))
    client.on('ERROR', (code, text) => done({ error: text, code }))
    client.connect(() => {
      if (!exceptions) return begin(client, done)
      client.on('OPTION_RES', () => begin(client, done))
      client.setOption('exceptions')
    })
  })
}

function run (asked, done, client) {
  const events = []
  client.on('JOB_CREATED', handle => events.push(['created', hex(handle)]))
  client.on('WORK_DATA', job => events.push(['data', hex(job.payload)]))
  client.on('WORK_WARNING', job => events.push(['warning', hex(job.warning)]))
  client.on('WORK_STATUS', job => events.push(['status', hex(job.percent_num), hex(job.percent_den)]))
  client.on('WORK_COMPLETE', job => { events.push(['complete', hex(job.payload)]); done(events) })
  client.on('WORK_FAIL', job => { events.push(['fail']); done(events) })
  client.on('WORK_EXCEPTION', job => { events.push(['exception', hex(job.exception)]); done(events) })
  submit(client, asked, Buffer.from(asked.workload, 'hex'), false)
}

function submit (client, asked, workload, background) {
  const options = { background, priority: asked.priority || 'normal' }
  if (asked.unique) options.unique_id = asked.unique
  client.submitJob(asked.function, workload, options)
}

const verbs = {
  call: asked => talk((client, done) => run(asked, events => {
    const [kind, data] = events[events.length - 1]
    const before = events.filter(event => event[0] === 'data').map(event => event[1]).join('')
    done({ complete: { result: before + data }, fail: { failed: true }, exception: { exception: data } }[kind])
  }, client)),
  task: asked => talk((client, done) => run(asked, events => done({ events }), client)),
  background: asked => talk((client, done) => {
    client.on('JOB_CREATED', handle => done({ handle }))
    submit(client, asked, Buffer.from(asked.workload, 'hex'), true)
  }),
  many: asked => talk((client, done) => {
    const handles = []
    const results = {}
    client.on('JOB_CREATED', handle => handles.push(handle))
    client.on('WORK_COMPLETE', job => {
      results[job.handle] = hex(job.payload)
      if (Object.keys(results).length === asked.workloads.length) {
        done({ results: handles.map(handle => results[handle]) })
      }
    })
    for (const one of asked.workloads) submit(client, asked, Buffer.from(one, 'hex'), false)
  }),
  status: asked => talk((client, done) => {
    // It reads the denominator as one byte, which is then the code of a digit.
    client.on('STATUS_RES', status => done({
      status: [status.known, status.running, status.percent_done_num,
        String.fromCharCode(status.percent_done_den)].map(Number)
    }))
    client.getJobStatus(asked.handle)
  }),
  ping: () => talk((client, done) => {
    client.on('ECHO_RES', data => done({ ok: String(data) === 'are you there?' }))
    client.echo('are you there?')
  }),
  exceptions: () => { exceptions = true; return { ok: true } },
  patience: asked => { patience = asked.seconds * 1000; return { ok: true } },
  version: () => ({ version: `${require('gearman/package.json').version} (Node ${process.version})` }),
  admin: () => talk((client, done) => client.adminStatus(status =>
    client.adminWorkers(workers => done({ status, workers }))))
}

speak(asked => verbs[asked.verb](asked))

// Drives the npm package gearmanode as a worker; see README.md.
'use strict'

const fs = require('fs')
const gearmanode = require('gearmanode')

gearmanode.Worker.logger.transports.forEach(transport => { transport.silent = true })

const [host, port] = process.argv.slice(2)
const worker = gearmanode.worker({ host, port: Number(port), withUnique: true })
worker.on('error', () => process.exit(1))
worker.on('socketDisconnect', () => process.exit(0))

// It sends results as text only, so what is not text comes back spoilt: not the server's doing.
worker.addFunction('gearmanode-reverse', job => job.workComplete(Buffer.from(job.payload).reverse()))
worker.addFunction('gearmanode-chatty', job => {
  job.sendWorkData('one')
  job.reportWarning('careful')
  job.reportStatus(1, 2)
  job.sendWorkData('two')
  job.reportStatus(2, 2)
  job.workComplete('done')
})
worker.addFunction('gearmanode-fail', job => job.reportError())
worker.addFunction('gearmanode-raise', job => job.reportException('boom'), { timeout: 60 })
worker.addFunction('gearmanode-note', job => {
  fs.appendFileSync(process.env.NOTES, Buffer.concat([job.payload, Buffer.from('\n')]))
  job.workComplete('')
})
worker.setWorkerId('gearmanode')

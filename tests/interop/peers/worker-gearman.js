// Drives the npm package gearman as a worker; see README.md.
'use strict'

const fs = require('fs')
const gearman = require('gearman')

const [host, port] = process.argv.slice(2)
const worker = gearman(host, Number(port))

const functions = {
  'npm-reverse': job => worker.sendWorkComplete(job.handle, Buffer.from(job.payload).reverse()),
  'npm-chatty': job => {
    worker.sendWorkData(job.handle, 'one')
    worker.sendWorkWarning(job.handle, 'careful')
    worker.sendWorkStatus(job.handle, '1', '2')
    worker.sendWorkData(job.handle, 'two')
    worker.sendWorkStatus(job.handle, '2', '2')
    worker.sendWorkComplete(job.handle, 'done')
  },
  'npm-fail': job => worker.sendWorkFail(job.handle),
  'npm-raise': job => worker.sendWorkException(job.handle, 'boom'),
  'npm-note': job => {
    fs.appendFileSync(process.env.NOTES, Buffer.concat([job.payload, Buffer.from('\n')]))
    worker.sendWorkComplete(job.handle, '')
  }
}

worker.on('NOOP', () => worker.grabJob())
worker.on('NO_JOB', () => worker.preSleep())
worker.on('JOB_ASSIGN', job => {
  functions[job.func_name](job)
  worker.preSleep()
})
worker.on('error', () => process.exit(1))
worker.on('close', () => process.exit(0))
worker.connect(() => {
  worker.setWorkerId('npm')
  // With a time limit, too: this library sends it as four raw bytes.
  for (const name of Object.keys(functions)) worker.addFunction(name, name === 'npm-fail' ? 60000 : 0)
  worker.preSleep()
})

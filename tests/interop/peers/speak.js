// One JSON object a line in, one out, in order; see README.md.
'use strict'

const readline = require('readline')

module.exports = function speak (answer) {
  let last = Promise.resolve()
  readline.createInterface({ input: process.stdin }).on('line', line => {
    last = last
      .then(() => answer(JSON.parse(line)))
      .catch(error => ({ error: String(error && error.message || error) }))
      .then(answered => process.stdout.write(JSON.stringify(answered) + '\n'))
  }).on('close', () => last.then(() => process.exit(0)))
}

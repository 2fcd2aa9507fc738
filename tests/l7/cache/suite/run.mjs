// Runs the suite named first against the proxy named second, and writes for each test its kind and what the suite's own
// judgement of the result is (dependencies between tests included).
import { pathToFileURL } from 'url'
import { createRequire } from 'module'
const [, , root, base] = process.argv
const of = path => import(pathToFileURL(`${root}/${path}`))
const fetch = createRequire(`${root}/`)('node-fetch')
const suites = (await of('tests/index.mjs')).default
const { runTests, getResults } = await of('client/runner.mjs')
const { determineTestResult } = await of('lib/display.mjs')
await runTests(suites, fetch, false, base)
const results = getResults()
const judged = {}
for (const test of suites.flatMap(suite => suite.tests)) {
  if (test.id in results) {
    const why = results[test.id] === true ? '' : results[test.id][1]
    judged[test.id] = [test.kind || 'required', determineTestResult(suites, test.id, results)[2], why]
  }
}
console.log(JSON.stringify(judged))

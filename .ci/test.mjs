// Runs every test, goes on after a failure, and ends with one line that counts
// them: "N passed, N failed". What the test runners print is passed through.
//
// Counted are Go tests with their subtests, the tests of the TypeScript client
// and of the console, and the browser tests. A step that fails without a
// failed test (it does not build, a check complains) counts as one failure.
import { AsyncLocalStorage } from "node:async_hooks";
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";

const results = "test-results";
rmSync(results, { recursive: true, force: true });
mkdirSync(results, { recursive: true });

const steps = [];
const slow = []; // Go tests, with their seconds
const failures = []; // what is said again before the summary: a name, and the end of what it printed
const failure = (name, said) => failures.push({ name, said: said.trimEnd().split("\n").slice(-20).join("\n") });
let again = 0; // Go tests that failed and passed when they were run once more
let browserAgain = 0; // browser tests likewise

/** What steps side by side have printed, each its own: it comes when a step is over, so that they do not mix. */
const held = new AsyncLocalStorage();

/** Prints lines. */
function say(text) {
  const lines = text.endsWith("\n") ? text.slice(0, -1) : text;
  const mine = held.getStore();
  if (mine === undefined) console.log(lines);
  else mine.push(lines);
}

/**
 * Runs rows of steps side by side: those of which one alone does not keep the machine busy,
 * because it waits or goes from one thing to the next.
 */
const sideBySide = (...rows) => Promise.all(rows.map((row) => held.run([], row)));

/**
 * Runs a command, gives each line that it prints to onLine, and returns whether
 * it succeeded.
 */
async function run(command, args, onLine = say, env = {}) {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, ...env } });
  const ended = new Promise((resolve) => {
    child.on("error", (err) => {
      say(`${command}: ${err.message}`);
      resolve(false);
    });
    child.on("close", (code) => resolve(code === 0));
  });
  for await (const line of createInterface({ input: child.stdout })) onLine(line);
  return ended;
}

/** Runs one step and notes how it went. body returns its counts and whether it succeeded. */
async function step(name, body) {
  say(`\n=== ${name}`);
  const began = Date.now();
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const ok = await body(counts);
  if (!ok && counts.failed === 0) counts.failed = 1;
  steps.push({ name, seconds: (Date.now() - began) / 1000, ...counts });
  const said = held.getStore()?.splice(0) ?? [];
  if (said.length > 0) console.log(said.join("\n"));
  return ok;
}

/** A step that is no test runner: it counts only when it fails. */
const make = (target) => step(`make ${target}`, () => run("make", ["--no-print-directory", target]));

/** make vet has looked, and at more. */
const noVet = ["-vet=off"];

/**
 * Go tests, of packages and with flags. Of a package that is good only go test's
 * own closing line is printed, of a failed test everything.
 */
function goTests(counts, args, env = {}, failed = [], folder = ".") {
  const output = new Map(); // by package and test
  const failedIn = new Map(); // failed tests by package
  const onEvent = (event) => {
    const key = `${event.Package ?? event.ImportPath} ${event.Test ?? ""}`;
    if (event.Output !== undefined) {
      output.set(key, (output.get(key) ?? "") + event.Output);
      return;
    }
    const text = output.get(key) ?? "";
    if (event.Test && !event.Test.includes("/") && event.Elapsed) slow.push({ key, seconds: event.Elapsed });
    switch (`${event.Action}${event.Test ? " test" : ""}`) {
      case "pass test":
        counts.passed++;
        break;
      case "skip test":
        counts.skipped++;
        say(text);
        break;
      case "fail test":
        counts.failed++;
        failedIn.set(event.Package, (failedIn.get(event.Package) ?? 0) + 1);
        failed.push({ in: event.Package, test: event.Test.split("/")[0] });
        failure(key, text);
        say(text);
        break;
      case "pass":
      case "skip":
        say(text.split("\n").filter((line) => /^(ok|\?)\s/.test(line)).join("\n"));
        break;
      case "fail":
        if (!failedIn.has(event.Package)) {
          counts.failed++;
          failed.push({ in: event.Package, test: undefined });
        }
        // Tests that had not ended when the package did: a panic, a time-out.
        for (const [unended, said] of output) {
          if (unended !== key && unended.startsWith(`${event.Package} `)) {
            say(said);
            failure(unended, `${said}did not end`);
            output.delete(unended);
          }
        }
        say(text);
        break;
      case "build-fail":
        say(text);
        break;
      default:
        return;
    }
    output.delete(key);
  };
  const onLine = (line) => {
    try {
      onEvent(JSON.parse(line));
    } catch {
      say(line);
    }
  };
  return run("go", ["test", "-C", folder, "-json", ...noVet, ...args], onLine, env);
}

/** So many Go tests that failed are run once more; where more failed, it is no accident. */
const mostAgain = 3;

/**
 * Go tests, of which those that failed run once more when all others are over, as the
 * browser's do: on a machine that others use, too, a test of several processes may
 * find less time than it gives. What it takes to pass is said in the summary.
 */
async function goTestsTwice(counts, args, packages, env) {
  const failed = [];
  if (await goTests(counts, [...args, ...packages], env, failed)) return true;
  const tests = [...new Set(failed.map(({ test }) => test))];
  if (tests.length > mostAgain || tests.includes(undefined)) return false;
  const second = { passed: 0, failed: 0, skipped: 0 };
  say(`\n=== once more: ${tests.join(" ")}`);
  const flags = args.filter((arg, i) => arg !== "-skip" && args[i - 1] !== "-skip");
  const where = [...new Set(failed.map((f) => f.in))];
  if (!(await goTests(second, [...flags, "-count=1", "-run", `^(${tests.join("|")})$`, ...where], env))) return false;
  again += tests.length;
  counts.passed += counts.failed;
  counts.failed = 0;
  return true;
}

/** Tests of the real binary, of which the files say by their names what they are about. */
const binaryTests = "internal/nodetest";

/** Those of its commands: of what they run, the packages' own tests look for races. */
const commands = "cmd/switchboard";

/**
 * Those that run with the race detector: a story of each room, on one node or a few. All others,
 * of kills, faults, limits, HTTP, several nodes and domains, run without, by themselves: with it they
 * take four times as long, for what the packages' own tests with the detector find as well.
 */
const raced = /^(accounts|chat|devices|events|journal|matches|rooms|story|traffic|webhooks)(_signin|_end|_input)?_test\.go$/;

/** The names of the tests in those files of which which says so. */
const testsIn = (which) =>
  readdirSync(binaryTests)
    .filter((file) => file.endsWith("_test.go") && which(file))
    .flatMap((file) => [...readFileSync(path.join(binaryTests, file), "utf8").matchAll(/^func (Test\w+)\(t /gm)].map(([, name]) => name));

/** What takes longer still: make test-large-nodes runs it. */
const large = [
  "TestAClusterGrowsAndGetsAnotherNodeForOneThatIsGone",
  "TestACrowdThatConnectsAtOnceIsReachableFromEachNode",
  "TestAMinorityAcceptsNothingThatItCannotKeep",
  "TestTheSuiteMeasuresClustersThatItStarts",
];

/** Tests in which one thing happens after another, thousands of times: the detector has nothing to find there. */
const alone = {
  tests: [
    "TestAListingIsReadNoFurtherThanItIsOfUse",
    "TestAMessageThatIsWrongIsRefusedByItsField",
    "TestAReaderTellsOfManyReports",
    "TestCirclesHoldWhoRedisSaysIsThere",
    "TestEveryOperationAsEveryRole",
  ],
  packages: ["./internal/api", "./internal/nearby", "./internal/chat", "./internal/relay"],
};

/**
 * What C was translated to Go, the database, moves memory as C does: the detector has nothing
 * to say of that, and checks of each pointer take most of the time of what uses it.
 */
const race = [
  "-race",
  "-gcflags=modernc.org/...=-d=checkptr=0",
  "-gcflags=modernc.org/libc/...=-race=false -d=checkptr=0",
  "-gcflags=modernc.org/sqlite/lib=-race=false -d=checkptr=0",
];

/**
 * All others with the race detector. Many wait for a server's clock or for the
 * disk, so more run at a time than there are processors, of packages as of tests. A process whose tests
 * have ended does not stay for another second, as the detector has it otherwise.
 */
const goRaceTests = (program) => (counts) => {
  process.env["GORACE"] ??= "atexit_sleep_ms=50";
  const without = [...testsIn((file) => !raced.test(file) && file !== "main_test.go"), ...large];
  without.push(...alone.tests);
  const packages = execFileSync("go", ["list", "./..."], { encoding: "utf8" }).trimEnd().split("\n").filter((p) => !p.endsWith(commands));
  return goTestsTwice(counts, [...race, "-p", "3", "-parallel", "4", "-timeout", "30m", "-skip", `^(${without.join("|")})$`], packages, { NODETEST_BINARY: program });
};

/** What is cut short under the race detector, in full, and what is left out there. */
const goPlainTests = (counts) =>
  goTests(counts, ["-timeout", "30m", "-run", `^(TestHistories|TestConfirmationsCrossShardsOnce|${alone.tests.join("|")})$`, "./internal/mailbox", ...alone.packages]);

/** Much of it is waiting: for leases, elections, and what a mix of faults does in 20 seconds. */
const goNodeTests = (counts) => {
  const without = [...testsIn((file) => raced.test(file)), ...large];
  return goTestsTwice(counts, ["-parallel", "6", "-timeout", "20m", "-skip", `^(${without.join("|")})$`], [`./${binaryTests}`, `./${commands}`], {
    NODETEST_BINARY: `${process.cwd()}/bin/switchboard`,
    FAULT_TIME: "20s",
  });
};

/**
 * What is in deploy/, a module of its own: it takes the libraries of who reads that, which nobody
 * else needs. Built as the program is, so that both have the standard library from one cache.
 */
const deployTests = (counts) => goTests(counts, ["-trimpath", "-parallel", "5", "-timeout", "10m", "./..."], { CGO_ENABLED: "0" }, [], "deploy/check");

/** Go benchmarks: each has to run; how fast is for make bench. Packages without any need not be linked for that. */
function goBenchmarks(counts) {
  const files = execFileSync("git", ["grep", "--untracked", "-l", "^func Benchmark", "--", "*_test.go"], { encoding: "utf8" });
  const packages = new Set(files.trimEnd().split("\n").map((file) => `./${path.dirname(file)}`));
  // They take what the tests beside them leave of the machine, and no more.
  return run("nice", ["go", "test", ...noVet, "-run", "^$", "-bench", ".", "-benchtime", "1x", ...packages], (line) => {
    if (/^(--- )?FAIL|^panic/.test(line)) counts.failed++;
    else if (/^Benchmark\S+\s+\d/.test(line)) counts.passed++;
    if (!/^(goos|goarch|pkg|cpu|PASS|\?)/.test(line)) say(line);
  });
}

/** Tests that node --test runs, counted by the summary that it prints. */
function nodeTests(workspace) {
  return (counts) =>
    run("npm", ["test", "-w", workspace], (line) => {
      say(line);
      const [, what, n] = /^[ℹ#] (pass|fail|cancelled|skipped|todo) (\d+)$/.exec(line) ?? [];
      if (what === "pass") counts.passed += Number(n);
      else if (what === "skipped" || what === "todo") counts.skipped += Number(n);
      else if (what !== undefined) counts.failed += Number(n);
    });
}

/** Notes the failures in Playwright's tree of suites. */
function browserFailures(suites) {
  for (const { suites: below = [], specs = [] } of suites) {
    for (const { title, tests } of specs.filter(({ ok }) => !ok)) {
      const errors = tests.flatMap(({ results }) => results.flatMap(({ errors }) => errors.map(({ message }) => message)));
      failure(`browser: ${title}`, errors.join("\n").replace(/\x1b\[[0-9;]*m/g, ""));
    }
    browserFailures(below);
  }
}

/** Browser tests, counted by Playwright's own report. */
async function browserTests(counts) {
  const report = `${process.cwd()}/${results}/browser.json`;
  const ok = await run("npm", ["run", "e2e", "-w", "@switchboard/console", "--", "--reporter=list,json"], say, {
    PLAYWRIGHT_JSON_OUTPUT_NAME: report,
    CI: "1",
  });
  try {
    const { stats, suites } = JSON.parse(readFileSync(report, "utf8"));
    browserFailures(suites);
    counts.passed = stats.expected + stats.flaky;
    counts.failed = stats.unexpected;
    counts.skipped = stats.skipped;
    if (stats.flaky > 0) say(`${stats.flaky} passed only when they were run again`);
    browserAgain = stats.flaky;
    if (stats.flaky > mostAgain) return false;
  } catch (err) {
    say(`no report of the browser tests: ${err.message}`);
    return false;
  }
  return ok;
}

await make("build");
await make("format");
// Built once, where each package would build it.
const program = `${process.cwd()}/${results}/switchboard-race`;
await sideBySide(
  async () => {
    await make("vet");
    await make("lint");
  },
  async () => {
    await make("web-check");
    await step("npm test: client", nodeTests("@switchboard/client"));
    await step("npm test: console", nodeTests("@switchboard/console"));
    await step("go build -race", () => run("go", ["build", ...race, "-o", program, "./cmd/switchboard"]));
  },
);
await step("go test -race ./...", goRaceTests(program));
await sideBySide(
  () => step("go test, the binary", goNodeTests),
  () => step("go benchmarks, once each", goBenchmarks),
);
await sideBySide(
  async () => {
    await step("go test, in full", goPlainTests);
    await step("go test, deploy", deployTests);
  },
  () => step("browser", browserTests),
);

slow.sort((a, b) => b.seconds - a.seconds);
console.log("\n=== slowest Go tests, in seconds");
for (const { key, seconds } of slow.slice(0, 25)) console.log(`${seconds.toFixed(1).padStart(7)}  ${key.replace(/^\S*\/switchboard\//, "")}`);
for (const { name, said } of failures) console.log(`\n=== failed: ${name}\n${said}`);
if (browserAgain > 0) console.log(`\n${browserAgain} of the browser tests above passed only when they were run once more`);
if (again > 0) console.log(`\n${again} of the Go tests above passed only when they were run once more`);
console.log("\n=== summary");
const total = { passed: 0, failed: 0, skipped: 0 };
for (const s of steps) {
  for (const what of Object.keys(total)) total[what] += s[what];
  const verdict = s.failed > 0 ? "FAIL" : "ok";
  const numbers = s.passed + s.failed + s.skipped > 0 ? `${s.passed} passed, ${s.failed} failed, ${s.skipped} skipped` : "";
  console.log(`${verdict.padEnd(5)}${s.name.padEnd(26)}${s.seconds.toFixed(1).padStart(7)}s  ${numbers}`.trimEnd());
}
const line = `${total.passed} passed, ${total.failed} failed`;
writeFileSync(`${results}/summary.txt`, `${line}\n`);
console.log(line);
process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;

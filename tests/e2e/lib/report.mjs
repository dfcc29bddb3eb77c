// Counts and prints checks; every end-to-end program closes with `N passed, N failed, N skipped`.

export class Report {
  #passed = 0;
  #failed = 0;
  #skipped = 0;

  constructor(area) {
    this.area = area;
  }

  /** Records one check; `problems` is a list of texts, empty where the check holds. */
  check(name, problems) {
    if (problems.length === 0) {
      this.#passed += 1;
      console.log(`ok    ${this.area}: ${name}`);
      return true;
    }
    this.#failed += 1;
    console.log(`FAIL  ${this.area}: ${name}`);
    for (const problem of problems.slice(0, 8)) console.log(`        ${problem}`);
    if (problems.length > 8) console.log(`        … and ${problems.length - 8} more`);
    return false;
  }

  skip(name, reason) {
    this.#skipped += 1;
    console.log(`skip  ${this.area}: ${name}: ${reason}`);
  }

  note(text) {
    console.log(`note  ${this.area}: ${text}`);
  }

  /** Prints the closing line and sets the exit status. */
  finish() {
    console.log(`${this.#passed} passed, ${this.#failed} failed, ${this.#skipped} skipped`);
    process.exitCode = this.#failed > 0 ? 1 : 0;
  }
}

/** Runs `body`, which returns problems, as one check; an exception is a problem, too. */
export async function checked(report, name, body) {
  let problems;
  try {
    problems = await body();
  } catch (error) {
    problems = [error.stack ?? String(error)];
  }
  return report.check(name, problems);
}

#!/usr/bin/env bash
# The simulator, in a few minutes: the corpus, the mutants, seeds, determinism, and the production
# driver on turmoil and on the kernel.
#
#   tests/sim.sh                what every change must pass; each part has a time limit
#   tests/sim.sh --long [TIME]  for the night: an hour (or TIME) of fresh seeds of each of clients,
#                               calls and rooms, determinism with media, and a hunt for
#                               each mutant through 4,000 seeds
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
sim=target/sim/bifrons-sim debug=target/debug/bifrons-sim
jobs=$(nproc)

# part LIMIT COMMAND...: a part that hangs is ended, and has failed
part() {
	echo "-- ${*:2}"
	timeout --kill-after=5 "$1" "${@:2}"
}

part 8m cargo build --quiet --profile sim -p bifrons-sim --features mutants
# At night each commit has seeds of its own: they explore anew, and can be repeated. What they find
# becomes a scenario of the corpus. By day seeds decide that are the same for every commit.
commit=$(git rev-parse --short=6 HEAD 2>/dev/null || echo 1)
own=$((16#$commit * 100000 + 1000000))

if [[ ${1:-} == --long ]]; then
	part 6m cargo build --quiet -p bifrons-sim --features kernel,mutants
	part 26h "$sim" run --from "$own" --seeds 100000000 --budget "${2:-1h}" --jobs "$jobs"
	for profile in media videoroom; do
		part 26h "$sim" run --scenario $profile --from "$own" --seeds 100000000 --budget "${2:-1h}" --jobs "$jobs"
		part 1h "$sim" determinism --profile $profile --seeds 200 --against "$debug"
	done
	part 2h "$sim" mutants --seeds 4000
	part 1h "$sim" marks --seeds 4000
	exit
fi
part 60s "$sim" gate sim/corpus
part 150s "$sim" run --seeds 20000 --budget 100s --jobs "$jobs"
# Calls and rooms with media: so many of the first thousand seeds as the time is enough for.
part 60s "$sim" run --scenario media --seeds 1000 --budget 30s --jobs "$jobs"
part 90s "$sim" run --scenario videoroom --seeds 1000 --budget 50s --jobs "$jobs"
part 60s "$sim" determinism --seeds 200
for profile in media videoroom; do
	part 60s "$sim" determinism --profile $profile --seeds 30
done
part 60s "$sim" leaks
part 6m cargo build --quiet -p bifrons-sim --features kernel,mutants
part 2m "$sim" determinism --seeds 200 --against "$debug"
for profile in media videoroom; do
	part 2m "$sim" determinism --profile $profile --seeds 10 --against "$debug"
done
part 6m cargo test --quiet -p bifrons-sim --features kernel,mutants --test conformance \
	--test partitions --test turmoil

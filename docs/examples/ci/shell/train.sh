#!/usr/bin/env bash
# What any other system runs, or cron: launch a recipe once, wait, decide. Started again, it joins the run that is there.
# Exit codes: 0 passed; 1 failed, or a requirement does not hold; 2 a mistake; 75 not ended yet, start it again later.
set -euo pipefail

: "${RUNNER_STORE:?where runs live, such as s3://my-bucket/runner}"
: "${RUNNER_RECIPE:?the recipe}"

run_id=$(runner ci launch --args "${RUNNER_ARGS:-}" --max-cost "${RUNNER_MAX_COST:-}" \
  --require "${RUNNER_REQUIRE:-}" --baseline "${RUNNER_BASELINE:-}" -- "$RUNNER_RECIPE")

# `exec`, so that a signal to this process reaches the command, which then cancels the run.
exec runner ci finish "$run_id" --timeout "${RUNNER_TIME_LIMIT:-86400}" --folder "${RUNNER_FOLDER:-runner-report}" \
  --require "${RUNNER_REQUIRE:-}" --baseline "${RUNNER_BASELINE:-}"

#!/usr/bin/env bash
# The official conformance program of the OCI distribution specification, in four settings. Where the Go module
# proxy refuses it: the suite that was in its place in November 2023, in two.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
failed=0

# ---------------------------------------------------------------------------------------------
# The newest program
#
# It ends well also when it could not read its own configuration, so its exit code proves nothing:
# a results file must be there, no test may fail, and as many must pass as pass for a registry that
# does everything. A test that is skipped because the registry lacks something lowers that count.

# count STATUS: how often the program gave it, from the summary in its report.
count() { sed -nE "s/^ *$1\.*: +([0-9]+)$/\1/p" "$report" | head -n 1; }

# The tests themselves, with what was wrong, leaving out the groups they are in.
failures() {
  awk '
    /^Configuration:/  { exit }
    / - / && bad != "" { print bad; bad = ""; inside = 1 }
    inside && / - /    { print; next }
    inside && !/^ *[^ ].*: (Pass|Skip|Disabled|FAIL|Error|Unknown)$/ { print; next }
                       { inside = 0; bad = "" }
    /: (FAIL|Error)$/  { bad = $0 }
  ' "$report"
}

# conforms NAME VERSION AT_LEAST: against a registry of its own, so that no run sees another's content.
conforms() {
  local results=$work/$1 pass fail error skip
  report=$work/$1.txt
  rm -rf "$work/data"
  start_registry
  (cd "$work" && OCI_REGISTRY=$registry OCI_TLS=disabled OCI_VERSION=$2 OCI_RESULTS_DIR=$results \
    OCI_REPO1=$space-$1/one OCI_REPO2=$space-$1/two conformance >"$report" 2>"$report.log" </dev/null) || true
  [[ -n ${REGISTRY:-} ]] || stop "$registry_pid"
  pass=$(count Pass) fail=$(count FAIL) error=$(count Error) skip=$(count Skip)
  echo "conformance $1: ${pass:-no} passed (at least $3), ${fail:-?} failed, ${error:-?} errors, ${skip:-?} skipped"
  if [[ ! -s $results/results.yaml ]]; then
    echo "conformance $1: no results.yaml was written" >&2
    tail -n 20 "$report" "$report.log" >&2
  elif ((${fail:-1} > 0 || ${error:-1} > 0)) || grep -qE ': (FAIL|Error)$' "$results/results.yaml"; then
    failures >&2
  elif ((pass < $3)); then
    echo "conformance $1: too few tests passed; these were skipped:" >&2
    grep -E ': Skip$' "$report" >&2 || true
  else
    return 0
  fi
  failed=$((failed + 1))
}

newest() {
  conforms 1.0 1.0 850
  conforms 1.1 1.1 854
  conforms dev dev 980
  # Manifests whose blobs are elsewhere are refused, unless the registry is told otherwise.
  registry_flags=(--allow-sparse)
  export OCI_DATA_SPARSE=true
  conforms sparse dev 1026
  ((failed == 0)) || fail "$failed of 4 conformance runs"
}

# ---------------------------------------------------------------------------------------------
# The suite of November 2023, of version 1.1.0-rc.3

# What does not pass there, and why that is right. A test that fails or is skipped without being listed fails the
# check, and so does one that is listed and passes: then the list is wrong.
#
# Of a manifest that is not there it asks for the tag .INVALID_MANIFEST_NAME, which is no tag. Docker's API has 400
# TAG_INVALID for that (tests/SPEC.md, B4), and the program of today takes either.
known='failed Pull Pull manifests GET nonexistent manifest should return 404
failed Push Manifest Upload GET nonexistent manifest should return 404'
# These only read from the environment what else is pushed first, for a registry to which nothing may be pushed.
known+='
skipped Content Discovery Setup Populate registry with test tags (no push)
skipped Pull Setup Get tag name from environment'
# The one is for a registry that answers every mount with an upload. The other is the opposite of a test that is run;
# --no-mount-from-anywhere would not do: it asks for a blob that was just mounted there, and that is 201 (E15).
known+='
skipped Push Cross-Repository Blob Mount Cross-mounting of nonexistent blob should yield session id
skipped Push Cross-Repository Blob Mount Cross-mounting without from, and automatic content discovery disabled should return a 202'

# conforms_2023 NAME [VARIABLE=VALUE...]: like `conforms`. All but what is known must pass, and that is 73 tests.
conforms_2023() {
  local results=$work/$1 name=$1 wanted got passed
  shift
  mkdir -p "$results"
  rm -rf "$work/data"
  start_registry
  env OCI_ROOT_URL="http://$registry" OCI_NAMESPACE="$space-$name/one" OCI_CROSSMOUNT_NAMESPACE="$space-$name/two" \
    OCI_TEST_PULL=1 OCI_TEST_PUSH=1 OCI_TEST_CONTENT_DISCOVERY=1 OCI_TEST_CONTENT_MANAGEMENT=1 \
    OCI_AUTOMATIC_CROSSMOUNT=1 OCI_HIDE_SKIPPED_WORKFLOWS=0 OCI_REPORT_DIR="$results" "$@" \
    conformance-2023 -ginkgo.no-color >"$results/log" 2>&1 </dev/null || true
  [[ -n ${REGISTRY:-} ]] || stop "$registry_pid"
  # STATUS NAME, a line for each test; what else is in the report is not of [It].
  sed -nE 's/.*<testcase name="\[It\] OCI Distribution Conformance Tests ([^"]*)".* status="([a-z]+)".*/\2 \1/p' \
    "$results/junit.xml" >"$results/tests" || true
  passed=$(grep -c '^passed ' "$results/tests" || true)
  got=$(grep -v '^passed ' "$results/tests" | LC_ALL=C sort || true)
  wanted=$(LC_ALL=C sort <<<"$known")
  echo "conformance $name: $passed passed (at least 73)," \
    "$(comm -12 <(echo "$wanted") <(echo "$got") | grep -c '^failed ') known," \
    "$(comm -13 <(echo "$wanted") <(echo "$got") | grep -cvE '^(skipped .*)?$') failed, $(grep -c '^skipped ' <<<"$got") skipped"
  if [[ $got == "$wanted" ]] && ((passed >= 73)); then return 0; fi
  echo "conformance $name: known (-) and found (+):" >&2
  diff -U 0 --label known --label found <(echo "$wanted") <(echo "$got") >&2 || true
  tail -n 40 "$results/log" >&2
  failed=$((failed + 1))
}

suite_2023() {
  needs conformance-2023 curl
  conforms_2023 2023
  # Its cleanup is part of what it tests.
  conforms_2023 2023-blobs-first OCI_DELETE_MANIFEST_BEFORE_BLOBS=0
  ((failed == 0)) || fail "$failed of 2 conformance runs"
}

refusal=$tools/conformance.failure
if ! command -v conformance >/dev/null && grep -qs '403 Forbidden' "$refusal"; then
  note "the Go module proxy refuses the official program of today, so that was NOT run, but the suite of November 2023:" \
    "$(grep '403 Forbidden' "$refusal" | tail -n 1)"
  suite_2023
else
  needs conformance curl
  newest
fi

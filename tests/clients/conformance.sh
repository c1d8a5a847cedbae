#!/usr/bin/env bash
# The official conformance program of the OCI distribution specification, in four settings.
# It ends well also when it could not read its own configuration, so its exit code proves nothing:
# a results file must be there, no test may fail, and as many must pass as pass for a registry that
# does everything. A test that is skipped because the registry lacks something lowers that count.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
refusal=$tools/conformance.failure
if ! command -v conformance >/dev/null && grep -qs '403 Forbidden' "$refusal"; then
  skip "the Go module proxy refuses the official program, so NOTHING IS KNOWN of it: $(tail -n 1 "$refusal")"
fi
needs conformance curl
failed=0

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

conforms 1.0 1.0 850
conforms 1.1 1.1 854
conforms dev dev 980
# Manifests whose blobs are elsewhere are refused, unless the registry is told otherwise.
registry_flags=(--allow-sparse)
export OCI_DATA_SPARSE=true
conforms sparse dev 1026

((failed == 0)) || fail "$failed of 4 conformance runs"

#!/bin/sh
# pipeline.sh FILE TRIGGER: run the LoadTest in FILE once for TRIGGER (a commit, say), wait, and exit as its verdict says:
# 0 Passed, 99 Failed, 97 Inconclusive, 130 Aborted, 1 Error. Called again with the same trigger it runs nothing and says the same.
# NAMESPACE and TIMEOUT (30m) may be set.
set -eu
file=$1 trigger=$2 timeout=${TIMEOUT:-30m}
kubectl() { command kubectl ${NAMESPACE:+--namespace="$NAMESPACE"} "$@"; }

kubectl patch --local -f "$file" --type=merge -p "{\"spec\":{\"trigger\":\"$trigger\"}}" -o yaml | kubectl apply -f -
test=$(kubectl get -f "$file" -o name)
# First that the operator has seen the trigger: until then the status is that of the run before.
kubectl wait "$test" --for=jsonpath='{.status.lastHandledTrigger}'="$trigger" --timeout="$timeout"
kubectl wait "$test" --for=jsonpath='{.status.finished}'=true --timeout="$timeout"
kubectl get "$test" -o jsonpath='{.status.verdict}: {.status.message}{"\n"}'
exit "$(kubectl get "$test" -o jsonpath='{.status.exitCode}')"

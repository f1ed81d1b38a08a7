# shellcheck shell=bash
# The project's chart, installed with a real Helm in a namespace that enforces the restricted pod security level.

NAMESPACE=loadstone-system

install() { # [HELM OPTION...]
  kubectl apply -f - >/dev/null <<Y
apiVersion: v1
kind: Namespace
metadata: {name: $NAMESPACE, labels: {pod-security.kubernetes.io/enforce: restricted}}
Y
  helm upgrade --install loadstone "$ROOT/helm/loadstone" --namespace "$NAMESPACE" \
    --set image.repository=localhost/loadstone-operator,image.tag=dev,image.pullPolicy=IfNotPresent \
    --set runner.image=localhost/loadstone-runner:dev,runner.imagePullPolicy=IfNotPresent "$@" --wait --timeout 120s >/dev/null
  restart_outdated
}

restart_outdated() { # The tag of a new build is the old one, so the chart cannot see that the operator's image has changed.
  local id running
  id=$(image_id localhost/loadstone-operator:dev)
  running=$(kubectl -n "$NAMESPACE" get pods -o jsonpath='{.items[*].status.containerStatuses[0].imageID}')
  [ -n "${running//"sha256:$id"/}" ] || return 0
  kubectl -n "$NAMESPACE" rollout restart deployment >/dev/null
  kubectl -n "$NAMESPACE" rollout status deployment --timeout=60s >/dev/null
}

helm() {
  local settings
  mapfile -t settings < <(environment)
  inside env "${settings[@]}" helm "$@"
}

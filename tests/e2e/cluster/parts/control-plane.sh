# shellcheck shell=bash
# etcd, the API server, the controllers, the scheduler, kube-proxy and DNS, with the defaults of production where a test could tell.

kubectl() { inside kubectl --kubeconfig "$RUN/admin.kubeconfig" "$@"; }

control_plane_up() { # NODES
  identities "$1"
  start etcd etcd --data-dir "$RUN/etcd" --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --unsafe-no-fsync
  api_up
  # A node counts as lost after 20 s of silence (default: 50 s), so that the tests of lost nodes take less time.
  start kube-controller-manager kube-controller-manager --kubeconfig="$RUN/controllers.kubeconfig" --leader-elect=false \
    --bind-address=127.0.0.1 --service-account-private-key-file="$RUN/pki/sa.key" --root-ca-file="$RUN/pki/apiserver/apiserver.crt" \
    --use-service-account-credentials=true --node-monitor-grace-period=20s
  start kube-scheduler kube-scheduler --kubeconfig="$RUN/scheduler.kubeconfig" --leader-elect=false --bind-address=127.0.0.1
  proxy
  dns
}

api_up() {
  start kube-apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 --advertise-address="$API_IP" --secure-port=6443 \
    --cert-dir="$RUN/pki/apiserver" --service-cluster-ip-range="$SERVICES" --authorization-mode=Node,RBAC --allow-privileged=true \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$RUN/pki/sa.pub" \
    --service-account-signing-key-file="$RUN/pki/sa.key" --token-auth-file="$RUN/pki/tokens.csv" --kubelet-preferred-address-types=InternalIP
  wait_for 60 kube-apiserver kubectl get --raw=/readyz
}

api_restart() { # every watch is cut, and what the server remembered of tokens is forgotten
  stop kube-apiserver
  (api_up) && return
  say "the API server did not come up again, and is started once more; its last words:"
  tail -n 5 "$RUN/logs/kube-apiserver.log" >&2
  (stop kube-apiserver) || true # it may have ended
  api_up
}

identities() { # NODES: a key for service accounts, and a token and a kubeconfig for each part
  local n
  openssl genrsa -out "$RUN/pki/sa.key" 2048 2>/dev/null
  openssl rsa -in "$RUN/pki/sa.key" -pubout -out "$RUN/pki/sa.pub" 2>/dev/null
  identity admin admin system:masters
  identity controllers system:kube-controller-manager ""
  identity scheduler system:kube-scheduler ""
  identity proxy cluster-proxy system:masters
  for n in $(seq 0 $(($1 - 1))); do identity "node$n" "system:node:node$n" system:nodes; done
}

identity() { # NAME USER GROUPS
  local token
  token=$(openssl rand -hex 16)
  echo "$token,$2,$1,\"$3\"" >>"$RUN/pki/tokens.csv"
  cat >"$RUN/$1.kubeconfig" <<Y
apiVersion: v1
kind: Config
clusters:
- name: $NAME
  cluster: {server: "https://$API_IP:6443", certificate-authority: $RUN/pki/apiserver/apiserver.crt, tls-server-name: localhost}
users:
- name: $1
  user: {token: "$token"}
contexts:
- name: $NAME
  context: {cluster: $NAME, user: $1}
current-context: $NAME
Y
}

proxy() { # one for all nodes: they share the namespace and with it the rules
  cat >"$RUN/proxy.yaml" <<Y
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
clientConnection: {kubeconfig: $RUN/proxy.kubeconfig}
clusterCIDR: $PODS
conntrack: {maxPerCore: 0}
hostnameOverride: node0
Y
  start kube-proxy kube-proxy --config="$RUN/proxy.yaml"
}

policies() { # what enforces NetworkPolicies, one for all nodes as the proxy
  ! is_running kube-router || return 0
  start kube-router kube-router --kubeconfig="$RUN/proxy.kubeconfig" --hostname-override=node0 --service-cluster-ip-range="$SERVICES"
}

dns() { # kubeadm's Corefile. Names outside the cluster do not exist, where kubeadm's would ask a resolver outside.
  cat >"$RUN/Corefile" <<C
cluster.local in-addr.arpa ip6.arpa {
  bind $API_IP
  errors
  kubernetes cluster.local in-addr.arpa ip6.arpa {
    kubeconfig $RUN/proxy.kubeconfig
    pods insecure
    fallthrough in-addr.arpa ip6.arpa
    ttl 30
  }
  cache 30 {
    disable success cluster.local
    disable denial cluster.local
  }
  loadbalance
}
. {
  bind $API_IP
  errors
  template ANY ANY {
    rcode NXDOMAIN
  }
}
C
  start coredns coredns -conf "$RUN/Corefile"
}

dns_service() {
  kubectl apply -f - >/dev/null <<Y
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec: {clusterIP: $DNS_IP, ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kube-dns-1, namespace: kube-system, labels: {kubernetes.io/service-name: kube-dns}}
addressType: IPv4
endpoints: [{addresses: [$API_IP]}]
ports: [{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53, protocol: TCP}]
Y
}

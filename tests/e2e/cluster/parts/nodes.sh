# shellcheck shell=bash
# A node is one containerd and one kubelet. All nodes share the network namespace; each has its address, its images and its cgroup.

node_numbers() { find "$RUN" -maxdepth 1 -name 'node[0-9]*' -type d 2>/dev/null | sed 's/.*node//' | sort -n; }

node_up() { # N
  local n=$1 folder=$RUN/node$1
  mkdir -p "$folder/cni"
  inside ip addr add "$(node_ip "$n")/24" dev nodes
  cgroups_add_node "$n"
  node_settings "$n" "$folder"
  start "containerd$n" containerd -c "$folder/containerd.toml"
  wait_for 20 "containerd on node $n" test -S "$folder/containerd.sock"
  kubelet_up "$n"
}

kubelet_up() { # N
  local folder=$RUN/node$1
  start "kubelet$1" kubelet --config="$folder/kubelet.yaml" --kubeconfig="$RUN/node$1.kubeconfig" \
    --root-dir="$folder/kubelet" --hostname-override="node$1" --node-ip="$(node_ip "$1")" --cert-dir="$folder/pki" --v=2
}

kubelet_restart() { # N: its containers go on; tokens that it held for pods are asked for anew
  stop "kubelet$1"
  kubelet_up "$1"
}

pod_signal() { # SIGNAL NAMESPACE POD [CONTAINER]: to every process of its containers, but not to what holds its network open
  local containers pid pids which='*'
  [ -z "$4" ] || which="?(@.name==\"$4\")"
  containers=$(kubectl -n "$2" get pod "$3" -o jsonpath="{.status.initContainerStatuses[$which].containerID} {.status.containerStatuses[$which].containerID}")
  # shellcheck disable=SC2086  # one word each
  pids=$(cgroups_container_pids ${containers//containerd:\/\//})
  [ -n "$pids" ] || die "pod $2/$3 has no process"
  # Some end with others that were sent it before.
  for pid in $pids; do kill "-$1" "$pid" 2>/dev/null || [ ! -e "/proc/$pid" ] || die "cannot send $1 to process $pid of pod $2/$3"; done
}

node_pids() { # N: its kubelet, its containerd and every process of its containers
  started_pids | grep -Fx -f <(cat "$RUN/pids/kubelet$1" "$RUN/pids/containerd$1" 2>/dev/null) || true
  cgroups_pids "$1"
}

node_settings() { # N FOLDER
  local n=$1 folder=$2
  # restrict_oom_score_adj: root without CAP_SYS_RESOURCE may not lower a score.
  cat >"$folder/containerd.toml" <<T
version = 2
root = "$folder/containerd/root"
state = "$folder/containerd/state"
[grpc]
  address = "$folder/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:e2e"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$folder/cni"
T
  # The addresses given away are kept in one place for all nodes, because they share the bridge.
  cat >"$folder/cni/10-pods.conflist" <<T
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipMasq": false,
   "ipam": {"type": "host-local", "dataDir": "$RUN/ipam", "ranges": [[{"subnet": "$PODS"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
T
  cat >"$folder/kubelet.yaml" <<T
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: true}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
address: $(node_ip "$n")
healthzPort: $((10248 + 100 * n))
cgroupDriver: cgroupfs
cgroupRoot: /$NAME/node$n
failCgroupV1: false
clusterDNS: [$DNS_IP]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix://$folder/containerd.sock
enforceNodeAllocatable: []
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
failSwapOn: false
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
maxPods: 110
podLogsDir: $folder/podlogs
resolvConf: /dev/null
T
}

load() { # IMAGE...
  local n image id archive record
  for image in "$@"; do
    id=$(image_id "$image")
    archive=$(exported "$image" "$id")
    for n in $(node_numbers); do
      record=$RUN/node$n/loaded-$(basename "$image")
      [ "$(cat "$record" 2>/dev/null)" != "$id" ] || continue
      ctr -a "$RUN/node$n/containerd.sock" -n k8s.io images import "$archive" >/dev/null
      echo "$id" >"$record"
    done
  done
}

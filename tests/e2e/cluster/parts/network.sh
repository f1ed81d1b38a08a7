# shellcheck shell=bash
# One network namespace holds the whole cluster: a bridge with the addresses of the API server and of the nodes, and the
# bridge of the pods. It has no way out, so a test can neither reach nor disturb anything else.

# shellcheck disable=SC2034,SC2153  # names shared with the other parts
NETNS=/run/netns/$NAME
API_IP=10.200.0.1 SERVICES=10.96.0.0/16 DNS_IP=10.96.0.10 PODS=10.201.0.0/16

node_ip() { echo "10.200.0.$(($1 + 2))"; }

# Not `ip netns exec`: that mounts a fresh /sys and hides the cgroups from the kubelet.
inside() { nsenter --net="$NETNS" "$@"; }

start() { # NAME CMD...: run in the background inside; its log and its pid are kept
  local name=$1; shift
  nsenter --net="$NETNS" setsid "$@" >"$RUN/logs/$name.log" 2>&1 </dev/null &
  echo $! >"$RUN/pids/$name"
}

is_running() { # NAME: whether `start` has started it, and it lives
  [ -e "$RUN/pids/$1" ] && started_pids | grep -Fxq -f "$RUN/pids/$1"
}

stop() { # NAME: kill what `start` has started under this name, and see it gone
  local pid
  pid=$(started_pids | grep -Fx -f "$RUN/pids/$1") || die "$1 does not run"
  kill -KILL "$pid"
  wait_for 10 "the end of $1" has_ended "$pid"
}

has_ended() { # PID: with all its threads, as any that is left keeps its sockets open
  ! started_pids | grep -Fxq "$1" && [ "$(find "/proc/$1/task" -mindepth 1 -maxdepth 1 2>/dev/null | wc -l)" -le 1 ]
}

started_pids() { # of these, what still runs in the namespace: a pid from before a reboot may be anybody's by now
  cat "$RUN"/pids/* 2>/dev/null | grep -Fxf <(ip netns pids "$NAME" 2>/dev/null) || true
}

wait_for() { # SECONDS WHAT CMD...
  local until=$((SECONDS + $1)) what=$2; shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $until ] || die "$what is not ready; see $RUN/logs"
    sleep 0.1
  done
}

network_up() {
  ip netns add "$NAME"
  inside ip link set lo up
  inside ip link add nodes type bridge
  inside ip addr add $API_IP/24 dev nodes
  inside ip link set nodes up
  inside ip route add $SERVICES dev nodes
  inside sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1
}

network_down() {
  local pods
  for pods in /run/netns/cni-*; do   # what killed pods left behind; another cluster's pods still have processes
    pods=$(basename "$pods"); [ -n "$(ip netns pids "$pods" 2>/dev/null)" ] || ip netns del "$pods" 2>/dev/null || true
  done
  ip netns del "$NAME" 2>/dev/null || true
}

# shellcheck shell=bash
# A cgroup for each node, /NAME/nodeN, under which its kubelet keeps its pods. Version 1 has a tree per controller; version 2 has
# one tree, in which a controller works in a cgroup only after its parent has handed it down in cgroup.subtree_control.

CGROUPS=${CGROUPS:-/sys/fs/cgroup}
NEEDED_CONTROLLERS=(cpu cpuset memory pids)

cgroups_version() { if [ -e "$CGROUPS/cgroup.controllers" ]; then echo 2; else echo 1; fi; }

cgroups_add_node() { # N
  case $(cgroups_version) in
    1) cgroups_add_node_v1 "$1" ;;
    2) cgroups_add_node_v2 "$1" ;;
  esac
}

cgroups_add_node_v1() { # N
  local tree folder file
  for tree in "$CGROUPS"/*/; do mkdir -p "$tree$NAME/node$1"; done
  [ ! -e "$CGROUPS/cpuset/cpuset.cpus" ] || # a new cpuset is empty and takes no process
    for folder in "$NAME" "$NAME/node$1"; do
      for file in cpuset.cpus cpuset.mems; do cat "$CGROUPS/cpuset/$file" >"$CGROUPS/cpuset/$folder/$file"; done
    done
}

cgroups_add_node_v2() { # N
  local controller
  mkdir -p "$CGROUPS/$NAME/node$1"
  cgroups_hand_down "$CGROUPS" || { cgroups_evacuate_root; cgroups_hand_down "$CGROUPS" || true; }
  cgroups_hand_down "$CGROUPS/$NAME" || true
  for controller in "${NEEDED_CONTROLLERS[@]}"; do
    grep -qw "$controller" "$CGROUPS/$NAME/node$1/cgroup.controllers" \
      || die "the cgroup controller $controller cannot be handed down to $CGROUPS/$NAME/node$1 (is $CGROUPS writable, and $controller in its cgroup.controllers?)"
  done
}

cgroups_hand_down() { # FOLDER: its children may use every controller that it has; fails where one that is needed is not taken
  local controller controllers failed=0
  read -ra controllers <"$1/cgroup.controllers" || true
  for controller in "${controllers[@]}"; do
    # One at a time: one that the kernel refuses (cpu beside real-time processes, say) must not keep the others back.
    cgroups_write "+$controller" "$1/cgroup.subtree_control" || [[ " ${NEEDED_CONTROLLERS[*]} " != *" $controller "* ]] || failed=1
  done
  return $failed
}

cgroups_evacuate_root() { # In a container the root of the tree is an ordinary cgroup, and one that holds processes hands nothing down.
  local pid
  mkdir -p "$CGROUPS/outside-$NAME"
  while read -r pid; do
    cgroups_write "$pid" "$CGROUPS/outside-$NAME/cgroup.procs" || true   # kernel threads stay; they do not count
  done <"$CGROUPS/cgroup.procs"
}

cgroups_write() { echo "$1" 2>/dev/null >"$2"; } # VALUE FILE

cgroups_pids() { # N: every process in the containers of node N
  find "$(cgroups_tree)/$NAME/node$1" -name cgroup.procs -exec cat {} + 2>/dev/null || true
}

cgroups_container_pids() { # ID...: every process of these containers
  local id
  for id in "$@"; do
    find "$(cgroups_tree)/$NAME" -path "*/$id/*" -name cgroup.procs -exec cat {} + 2>/dev/null || true
  done
}

cgroups_tree() { # one in which every process of a pod is
  if [ "$(cgroups_version)" = 1 ]; then echo "$CGROUPS/pids"; else echo "$CGROUPS"; fi
}

cgroups_remove() { # their processes have ended
  local tree
  for tree in "$CGROUPS" "$CGROUPS"/*/; do
    [ ! -d "$tree/$NAME" ] || find "$tree/$NAME" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done
}
